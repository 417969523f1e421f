/** The thread of a tool session: opens it, renews it, and closes it when it is told to. */

import { type MessagePort, workerData } from "node:worker_threads";
import { GatewayError, KeyRefused } from "./errors.js";
import { type Gateway, ask } from "./gateway.js";
import type { Report } from "./session.js";

const PATH = "/mcp/session";
const OFF =
  "The gateway's operator has not allowed this key to use web tools: Claude will have none.";
/** Whatever a gateway says, it is asked no more often than this. */
const RENEW_MS_MIN = 1_000;

const { gateway, answered, port } = workerData as {
  gateway: Gateway;
  answered: Int32Array;
  port: MessagePort;
};

let renewal: NodeJS.Timeout | undefined;
let renewing: Promise<void> = Promise.resolve();

function tell(report: Report): void {
  port.postMessage(report);
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
}

function intervalMs(answer: Record<string, unknown>): number {
  return Math.max((Number(answer.expires_in_s) * 1000) / 3, RENEW_MS_MIN);
}

function renewIn(milliseconds: number, id: string): void {
  renewal = setTimeout(() => {
    renewing = renew(milliseconds, id);
  }, milliseconds);
}

async function renew(milliseconds: number, id: string): Promise<void> {
  try {
    renewIn(intervalMs(await ask(gateway, "POST", `${PATH}/${id}`)), id);
  } catch (error) {
    process.emitWarning(`The tool session could not be renewed: ${(error as Error).message}`);
    if (!(error instanceof KeyRefused)) {
      renewIn(milliseconds, id);
    }
  }
}

async function close(id: string): Promise<void> {
  // A renewal under way would open it again, and set another timer.
  await renewing;
  clearTimeout(renewal);
  // What cannot be closed ends by itself.
  await ask(gateway, "DELETE", `${PATH}/${id}`).catch(() => {});
  tell({});
  port.close();
}

try {
  const answer = await ask(gateway, "POST", PATH);
  const id = String(answer.session_id);
  port.on("message", () => void close(id));
  renewIn(intervalMs(answer), id);
  tell(answer.web_tools === false ? { warning: OFF } : {});
} catch (error) {
  const { name, message } = error as Error;
  const status = error instanceof GatewayError ? error.status : undefined;
  tell({ error: { kind: name, message, status } });
}
