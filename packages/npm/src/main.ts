#!/usr/bin/env node
/** The command `claudcode-mcp-server`: the gateway's tools on stdin and stdout. */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { serve } from "./bridge.js";
import { gatewayOf } from "./gateway.js";

// The second of each is what people who call Claude through the gateway have set already.
const KEY_NAMES = ["CLAUDCODE_API_KEY", "ANTHROPIC_API_KEY"];
const GATEWAY_NAMES = ["CLAUDCODE_GATEWAY", "ANTHROPIC_BASE_URL"];

const USAGE = `claudcode-mcp-server [--gateway ADDRESS]

Serve the web tools of a ClaudCode gateway over MCP on stdin and stdout.

  --gateway ADDRESS  the gateway's address (default: ${GATEWAY_NAMES.join(" or ")})
  --version
  --help

The API key comes from ${KEY_NAMES[0]} (or ${KEY_NAMES[1]}); TAVILY_API_KEY is used in place of the
operator's Tavily account if it is set.
`;

function required(names: string[]): string {
  const found = names.map((name) => process.env[name]).find(Boolean);
  if (!found) {
    throw new TypeError(`set ${names[0]}`);
  }
  return found;
}

function version(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

try {
  const { values } = parseArgs({
    options: {
      gateway: { type: "string" },
      version: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.version || values.help) {
    process.stdout.write(values.version ? `${version()}\n` : USAGE);
  } else {
    const gateway = gatewayOf({
      gateway: values.gateway ?? required(GATEWAY_NAMES),
      apiKey: required(KEY_NAMES),
      tavilyApiKey: process.env.TAVILY_API_KEY || undefined,
    });
    await serve(gateway, version());
  }
} catch (error) {
  process.stderr.write(`claudcode-mcp-server: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
