/**
 * An MCP server on stdio whose tools are those of the gateway, for clients that speak no HTTP.
 *
 * It knows no tool: what the gateway lists is listed, what is called is called there. Progress and
 * cancellation pass through. It starts without the gateway; a call says what is wrong with it.
 */
import type { Gateway } from "./gateway.js";
/** Serve on stdin and stdout until stdin ends. */
export declare function serve(gateway: Gateway, version: string): Promise<void>;
