/** The web tools of a ClaudCode gateway, for programs and for MCP clients that speak stdio. */
export { ClaudCodeMcp } from "./client.js";
export { GatewayError, GatewayUnreachable, KeyRefused, ToolFailed } from "./errors.js";
