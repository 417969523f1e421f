/** What can go wrong between a program and its gateway. */
/** The gateway did not do what it was asked; the message says why. `status` is of HTTP, if any. */
export class GatewayError extends Error {
    status;
    constructor(message, status, options) {
        super(message, options);
        this.name = new.target.name;
        this.status = status;
    }
}
/** The gateway knows no such key, or the key may not do this. */
export class KeyRefused extends GatewayError {
}
/** Nobody answered, or not in time. */
export class GatewayUnreachable extends GatewayError {
}
/** The tool ran and failed; another try may help. */
export class ToolFailed extends GatewayError {
}
/** Return the error that an answer of this status tells; `body` is its JSON, if it was any. */
export function refusal(status, body) {
    const message = said(body) || `The gateway answered ${status}.`;
    if (status === 401 || status === 403) {
        return new KeyRefused(message, status);
    }
    if (status === 404) {
        return new GatewayError(`There are no web tools at this gateway (${message})`, status);
    }
    return new GatewayError(message, status);
}
/** Return the error for when nobody at `address` answers. */
export function unreachable(address, error) {
    return new GatewayUnreachable(`${address} did not answer: ${reason(error)}`, undefined, {
        cause: error,
    });
}
function said(body) {
    const error = body?.error;
    const message = error?.message ?? error;
    return typeof message === "string" ? message : "";
}
// `fetch` says "fetch failed", and the reason in its cause.
function reason(error) {
    const { cause, message } = error;
    const { code, message: deeper } = (cause ?? {});
    return deeper || code || message || String(error);
}
