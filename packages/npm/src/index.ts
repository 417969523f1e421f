/** The web tools of a ClaudCode gateway, for programs and for MCP clients that speak stdio. */

export { ClaudCodeMcp } from "./client.js";
export { GatewayError, GatewayUnreachable, KeyRefused, ToolFailed } from "./errors.js";
export type { ClaudCodeMcpOptions } from "./gateway.js";
export type { CallOptions, ToolDefinition, ToolResult } from "./tools.js";
