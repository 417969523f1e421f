/** Where a gateway is and how to call it: addresses, headers, and answers as values or errors. */
import { refusal, unreachable } from "./errors.js";
/** An answer of the gateway's own endpoints takes milliseconds. */
const SMALL_MS_MAX = 10_000;
/** Return where and how to call. Throws `TypeError` for options that cannot be right. */
export function gatewayOf(options) {
    if (!/^https?:\/\//.test(options.gateway ?? "")) {
        throw new TypeError(`gateway must be an address such as https://…, not ${options.gateway}`);
    }
    if (!options.apiKey) {
        throw new TypeError("apiKey is empty");
    }
    const root = options.gateway.replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "");
    const headers = { "x-api-key": options.apiKey };
    if (options.tavilyApiKey) {
        headers["x-tavily-api-key"] = options.tavilyApiKey;
    }
    return { root, headers };
}
/** Call an endpoint with JSON to answer; return that. Throws `GatewayError`. */
export async function ask(gateway, method, path) {
    let answer;
    try {
        answer = await fetch(gateway.root + path, {
            method,
            headers: gateway.headers,
            signal: AbortSignal.timeout(SMALL_MS_MAX),
        });
    }
    catch (error) {
        throw unreachable(gateway.root, error);
    }
    const text = await answer.text();
    const body = jsonOf(text);
    if (!answer.ok || (text && (typeof body !== "object" || body === null))) {
        throw refusal(answer.status, body);
    }
    return (body ?? {});
}
/** Return what `text` says as JSON, `undefined` if it is something else. */
export function jsonOf(text) {
    try {
        return JSON.parse(text);
    }
    catch {
        return undefined;
    }
}
