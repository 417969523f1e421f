/** `@hono/mcp` as it is, and the server of the official MCP SDK beside it. */

export * from "hono-mcp";
export { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
