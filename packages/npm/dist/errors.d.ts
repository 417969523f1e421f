/** What can go wrong between a program and its gateway. */
/** The gateway did not do what it was asked; the message says why. `status` is of HTTP, if any. */
export declare class GatewayError extends Error {
    readonly status: number | undefined;
    constructor(message: string, status?: number, options?: ErrorOptions);
}
/** The gateway knows no such key, or the key may not do this. */
export declare class KeyRefused extends GatewayError {
}
/** Nobody answered, or not in time. */
export declare class GatewayUnreachable extends GatewayError {
}
/** The tool ran and failed; another try may help. */
export declare class ToolFailed extends GatewayError {
}
/** Return the error that an answer of this status tells; `body` is its JSON, if it was any. */
export declare function refusal(status: number, body: unknown): GatewayError;
/** Return the error for when nobody at `address` answers. */
export declare function unreachable(address: string, error: unknown): GatewayUnreachable;
