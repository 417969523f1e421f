/** Where a gateway is and how to call it: addresses, headers, and answers as values or errors. */
export interface ClaudCodeMcpOptions {
    /** The API key of the gateway, `sk-cc-…`. */
    apiKey: string;
    /** The gateway's address, with `/v1` as SDKs are given it, or without. */
    gateway: string;
    /** A Tavily key of your own, used in place of the operator's. */
    tavilyApiKey?: string | undefined;
}
export interface Gateway {
    /** The address without `/v1` and without a slash at its end. */
    root: string;
    /** The headers of every call. */
    headers: Record<string, string>;
}
/** Return where and how to call. Throws `TypeError` for options that cannot be right. */
export declare function gatewayOf(options: ClaudCodeMcpOptions): Gateway;
/** Call an endpoint with JSON to answer; return that. Throws `GatewayError`. */
export declare function ask(gateway: Gateway, method: string, path: string): Promise<Record<string, unknown>>;
/** Return what `text` says as JSON, `undefined` if it is something else. */
export declare function jsonOf(text: string): unknown;
