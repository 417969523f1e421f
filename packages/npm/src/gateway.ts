/** Where a gateway is and how to call it: addresses, headers, and answers as values or errors. */

import { refusal, unreachable } from "./errors.js";

/** An answer of the gateway's own endpoints takes milliseconds. */
const SMALL_MS_MAX = 10_000;

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
export function gatewayOf(options: ClaudCodeMcpOptions): Gateway {
  if (!/^https?:\/\//.test(options.gateway ?? "")) {
    throw new TypeError(`gateway must be an address such as https://…, not ${options.gateway}`);
  }
  if (!options.apiKey) {
    throw new TypeError("apiKey is empty");
  }
  const root = options.gateway.replace(/\/+$/, "").replace(/\/v1$/, "").replace(/\/+$/, "");
  const headers: Record<string, string> = { "x-api-key": options.apiKey };
  if (options.tavilyApiKey) {
    headers["x-tavily-api-key"] = options.tavilyApiKey;
  }
  return { root, headers };
}

/** Call an endpoint with JSON to answer; return that. Throws `GatewayError`. */
export async function ask(
  gateway: Gateway,
  method: string,
  path: string,
): Promise<Record<string, unknown>> {
  let answer: Response;
  try {
    answer = await fetch(gateway.root + path, {
      method,
      headers: gateway.headers,
      signal: AbortSignal.timeout(SMALL_MS_MAX),
    });
  } catch (error) {
    throw unreachable(gateway.root, error);
  }
  const text = await answer.text();
  const body = jsonOf(text);
  if (!answer.ok || (text && (typeof body !== "object" || body === null))) {
    throw refusal(answer.status, body);
  }
  return (body ?? {}) as Record<string, unknown>;
}

/** Return what `text` says as JSON, `undefined` if it is something else. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
