// Claude calls a function of yours and answers with what it returned: npm run tool-use
import type Anthropic from "@anthropic-ai/sdk";
import { client, MODEL, textOf } from "./claudcode.js";

const TOOL: Anthropic.Tool = {
  name: "local_time",
  description: "The time of day at an offset from UTC.",
  input_schema: {
    type: "object",
    properties: { utc_offset_hours: { type: "integer", minimum: -12, maximum: 14 } },
    required: ["utc_offset_hours"],
  },
};
const TURNS_MAX = 5;

function localTime(input: unknown): string {
  const hours = (input as { utc_offset_hours?: unknown }).utc_offset_hours;
  if (typeof hours !== "number") {
    throw new Error("utc_offset_hours has to be a number.");
  }
  return new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
}

function run(call: Anthropic.ToolUseBlock): Anthropic.ToolResultBlockParam {
  console.log(`[calls ${call.name} with ${JSON.stringify(call.input)}]`);
  try {
    return { type: "tool_result", tool_use_id: call.id, content: localTime(call.input) };
  } catch (error) {
    return { type: "tool_result", tool_use_id: call.id, content: String(error), is_error: true };
  }
}

const question = process.argv.slice(2).join(" ") || "What time is it in Tokyo?";
const messages: Anthropic.MessageParam[] = [{ role: "user", content: question }];
for (let turn = 0; turn < TURNS_MAX; turn++) {
  const message = await client.messages.create({
    model: MODEL,
    max_tokens: 1024,
    tools: [TOOL],
    // So that the example shows a call. After that it is Claude's choice, as usual.
    tool_choice: { type: turn === 0 ? "any" : "auto" },
    messages,
  });
  const calls = message.content.filter((block) => block.type === "tool_use");
  if (calls.length === 0) {
    console.log(textOf(message));
    break;
  }
  messages.push({ role: "assistant", content: message.content });
  messages.push({ role: "user", content: calls.map(run) });
}
