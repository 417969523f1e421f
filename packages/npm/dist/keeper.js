/** The thread of a tool session: opens it, renews it, and closes it when it is told to. */
import { workerData } from "node:worker_threads";
import { GatewayError, KeyRefused } from "./errors.js";
import { ask } from "./gateway.js";
const PATH = "/mcp/session";
const OFF = "The gateway's operator has not allowed this key to use web tools: Claude will have none.";
/** Whatever a gateway says, it is asked no more often than this. */
const RENEW_MS_MIN = 1_000;
const { gateway, answered, port } = workerData;
let renewal;
let renewing = Promise.resolve();
function tell(report) {
    port.postMessage(report);
    Atomics.store(answered, 0, 1);
    Atomics.notify(answered, 0);
}
function intervalMs(answer) {
    return Math.max((Number(answer.expires_in_s) * 1000) / 3, RENEW_MS_MIN);
}
function renewIn(milliseconds, id) {
    renewal = setTimeout(() => {
        renewing = renew(milliseconds, id);
    }, milliseconds);
}
async function renew(milliseconds, id) {
    try {
        renewIn(intervalMs(await ask(gateway, "POST", `${PATH}/${id}`)), id);
    }
    catch (error) {
        process.emitWarning(`The tool session could not be renewed: ${error.message}`);
        if (!(error instanceof KeyRefused)) {
            renewIn(milliseconds, id);
        }
    }
}
async function close(id) {
    // A renewal under way would open it again, and set another timer.
    await renewing;
    clearTimeout(renewal);
    // What cannot be closed ends by itself.
    await ask(gateway, "DELETE", `${PATH}/${id}`).catch(() => { });
    tell({});
    port.close();
}
try {
    const answer = await ask(gateway, "POST", PATH);
    const id = String(answer.session_id);
    port.on("message", () => void close(id));
    renewIn(intervalMs(answer), id);
    tell(answer.web_tools === false ? { warning: OFF } : {});
}
catch (error) {
    const { name, message } = error;
    const status = error instanceof GatewayError ? error.status : undefined;
    tell({ error: { kind: name, message, status } });
}
