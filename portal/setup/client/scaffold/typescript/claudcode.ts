// The client that all examples share: base URL, key and model come from .env beside this file.
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import Anthropic from "@anthropic-ai/sdk";

const settings = parseEnv(readFileSync(new URL(".env", import.meta.url), "utf8"));
const { CLAUDCODE_BASE_URL: baseURL, CLAUDCODE_API_KEY: apiKey } = settings;
if (!baseURL || !apiKey) {
  throw new Error(".env has to set CLAUDCODE_BASE_URL and CLAUDCODE_API_KEY.");
}

export const MODEL = settings.CLAUDCODE_MODEL || "claude-sonnet-4-6";
export const client = new Anthropic({ baseURL, apiKey });

export function textOf(message: Anthropic.Message): string {
  return message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
}
