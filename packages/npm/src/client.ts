/** `ClaudCodeMcp`: a tool session and the gateway's tools. */

import { type ClaudCodeMcpOptions, type Gateway, ask, gatewayOf } from "./gateway.js";
import { ToolSession } from "./session.js";
import {
  type CallOptions,
  type ToolDefinition,
  type ToolResult,
  callTool,
  definition,
  listTools,
  result,
} from "./tools.js";

/**
 * Gives the requests of a key the gateway's web tools, from now until it is closed.
 *
 * Opens its session at once: a wrong key or address throws `GatewayError` here. It closes by
 * `close()` or when the program ends.
 */
export class ClaudCodeMcp {
  private readonly gateway: Gateway;
  private readonly session: ToolSession;

  constructor(options: ClaudCodeMcpOptions) {
    this.gateway = gatewayOf(options);
    this.session = new ToolSession(this.gateway);
  }

  /** Return the tools as `messages.create({ tools })` takes them. Throws `GatewayError`. */
  async tools(): Promise<ToolDefinition[]> {
    return (await listTools(this.gateway)).map(definition);
  }

  /** Run a tool. Throws `ToolFailed` when it fails, `GatewayError` when it cannot be run. */
  async call(
    name: string,
    args: Record<string, unknown> = {},
    options: CallOptions = {},
  ): Promise<ToolResult> {
    return result(await callTool(this.gateway, name, args, options));
  }

  /** Return budget and limits of the key. Throws `GatewayError`. */
  async keyStatus(): Promise<Record<string, unknown>> {
    return ask(this.gateway, "GET", "/v1/key-status");
  }

  /** End the session; harmless if it has ended. */
  close(): void {
    this.session.close();
  }
}
