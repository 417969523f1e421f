/**
 * The gateway's tools over MCP, through the official SDK; one connection a call.
 *
 * The server keeps nothing between calls, so there is nothing to keep here either.
 */

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { RequestOptions } from "@modelcontextprotocol/sdk/shared/protocol.js";
import {
  type CallToolResult,
  CallToolResultSchema,
  McpError,
  type Tool,
} from "@modelcontextprotocol/sdk/types.js";
import { GatewayError, ToolFailed, refusal, unreachable } from "./errors.js";
import { type Gateway, jsonOf } from "./gateway.js";

/** A crawl may take minutes. */
const CALL_MS_MAX = 300_000;

/** A tool as Anthropic's Messages API takes it in `tools`. */
export interface ToolDefinition {
  name: string;
  description: string;
  input_schema: { type: "object"; [keyword: string]: unknown };
}

/** What a tool found: `text` for people and models, `data` for programs. */
export interface ToolResult {
  text: string;
  data: Record<string, unknown>;
}

export type CallOptions = Pick<RequestOptions, "signal" | "onprogress">;

/** Return the tools of the gateway. Throws `GatewayError`. */
export async function listTools(gateway: Gateway, options: CallOptions = {}): Promise<Tool[]> {
  return connected(gateway, async (client) => (await client.listTools({}, options)).tools);
}

/** Run a tool and return what it answers, be it a failure. Throws `GatewayError`. */
export async function callTool(
  gateway: Gateway,
  name: string,
  args: Record<string, unknown> = {},
  options: CallOptions = {},
): Promise<CallToolResult> {
  const bounds = { timeout: CALL_MS_MAX, ...options };
  const asked = { name, arguments: args };
  return connected(
    gateway,
    async (client) => (await client.callTool(asked, CallToolResultSchema, bounds)) as CallToolResult,
  );
}

/** Return a tool as Anthropic's Messages API takes it in `tools`. */
export function definition(tool: Tool): ToolDefinition {
  return { name: tool.name, description: tool.description ?? "", input_schema: tool.inputSchema };
}

/** Return what a tool found. Throws `ToolFailed`. */
export function result(answer: CallToolResult): ToolResult {
  const text = answer.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
  if (answer.isError) {
    throw new ToolFailed(text || "The tool failed and did not say why.");
  }
  return { text, data: answer.structuredContent ?? {} };
}

async function connected<T>(gateway: Gateway, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ name: "claudcode-mcp-server", version: "1.0.1" });
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway.root}/mcp`), {
    requestInit: { headers: gateway.headers },
    fetch: (address, init) => looked(gateway, address, init),
  });
  try {
    await client.connect(transport);
    return await work(client);
  } catch (error) {
    throw error instanceof McpError ? new GatewayError(bare(error.message)) : error;
  } finally {
    await client.close();
  }
}

/** Fetch, and throw what the gateway says of a refused call: the SDK would only say the status. */
async function looked(
  gateway: Gateway,
  address: string | URL,
  init?: RequestInit,
): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(address, init);
  } catch (error) {
    throw init?.signal?.aborted ? error : unreachable(gateway.root, error);
  }
  // A server without a stream of its own answers 405 to a look for one.
  if (answer.ok || answer.status === 405) {
    return answer;
  }
  const text = await answer.text();
  const body = jsonOf(text);
  if (typeof body === "object" && body !== null && "jsonrpc" in body) {
    return new Response(text, answer);
  }
  throw refusal(answer.status, body);
}

function bare(message: string): string {
  return message.replace(/^MCP error -?\d+: /, "");
}
