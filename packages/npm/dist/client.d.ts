/** `ClaudCodeMcp`: a tool session and the gateway's tools. */
import { type ClaudCodeMcpOptions } from "./gateway.js";
import { type CallOptions, type ToolDefinition, type ToolResult } from "./tools.js";
/**
 * Gives the requests of a key the gateway's web tools, from now until it is closed.
 *
 * Opens its session at once: a wrong key or address throws `GatewayError` here. It closes by
 * `close()` or when the program ends.
 */
export declare class ClaudCodeMcp {
    private readonly gateway;
    private readonly session;
    constructor(options: ClaudCodeMcpOptions);
    /** Return the tools as `messages.create({ tools })` takes them. Throws `GatewayError`. */
    tools(): Promise<ToolDefinition[]>;
    /** Run a tool. Throws `ToolFailed` when it fails, `GatewayError` when it cannot be run. */
    call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolResult>;
    /** Return budget and limits of the key. Throws `GatewayError`. */
    keyStatus(): Promise<Record<string, unknown>>;
    /** End the session; harmless if it has ended. */
    close(): void;
}
