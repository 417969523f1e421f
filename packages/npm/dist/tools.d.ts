/**
 * The gateway's tools over MCP, through the official SDK; one connection a call.
 *
 * The server keeps nothing between calls, so there is nothing to keep here either.
 */
import type { RequestOptions } from "@modelcontextprotocol/sdk/shared/protocol.js";
import { type CallToolResult, type Tool } from "@modelcontextprotocol/sdk/types.js";
import { type Gateway } from "./gateway.js";
/** A tool as Anthropic's Messages API takes it in `tools`. */
export interface ToolDefinition {
    name: string;
    description: string;
    input_schema: {
        type: "object";
        [keyword: string]: unknown;
    };
}
/** What a tool found: `text` for people and models, `data` for programs. */
export interface ToolResult {
    text: string;
    data: Record<string, unknown>;
}
export type CallOptions = Pick<RequestOptions, "signal" | "onprogress">;
/** Return the tools of the gateway. Throws `GatewayError`. */
export declare function listTools(gateway: Gateway, options?: CallOptions): Promise<Tool[]>;
/** Run a tool and return what it answers, be it a failure. Throws `GatewayError`. */
export declare function callTool(gateway: Gateway, name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<CallToolResult>;
/** Return a tool as Anthropic's Messages API takes it in `tools`. */
export declare function definition(tool: Tool): ToolDefinition;
/** Return what a tool found. Throws `ToolFailed`. */
export declare function result(answer: CallToolResult): ToolResult;
