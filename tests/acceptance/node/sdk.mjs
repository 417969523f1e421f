// Works an official TypeScript SDK, the package named on the command line, as told by JSON lines.
// The twin of ../clients/python_sdk.py; clients/sdk.py says what the lines hold.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const name = process.argv[2];
const sdk = await import(name);
const Anthropic = sdk.default;
const description = new URL(`node_modules/${name}/package.json`, import.meta.url);
const { version } = JSON.parse(readFileSync(description, "utf8"));

// What fetch, not the SDK, throws when a body ends before its time.
const BROKEN_OFF = "terminated";

async function collected(values, pick) {
  const found = [];
  for await (const value of values) found.push(pick(value));
  return found;
}

const actions = {
  async create(client, messages, request) {
    const message = await messages.create(request);
    return { ...message, request_id: message._request_id };
  },

  async events(client, messages, request) {
    return collected(await messages.create({ ...request, stream: true }), (event) => event);
  },

  async stream(client, messages, request) {
    const stream = messages.stream(request);
    let streamed_text = "";
    stream.on("text", (text) => (streamed_text += text));
    return { ...(await stream.finalMessage()), streamed_text };
  },

  async count_tokens(client, messages, request) {
    return (await messages.countTokens(request)).input_tokens;
  },

  async models(client, messages, request) {
    return collected(client.models.list(request), (model) => model.id);
  },

  async model(client, messages, { model_id }) {
    return client.models.retrieve(model_id);
  },
};

async function answer({ client: given, headers, beta, action, request }) {
  const client = new Anthropic({
    baseURL: given.base_url,
    apiKey: given.api_key ?? null,
    authToken: given.auth_token ?? null,
    maxRetries: given.max_retries,
    timeout: 30_000,
    defaultHeaders: headers,
  });
  try {
    const messages = beta ? client.beta.messages : client.messages;
    return { answer: await actions[action](client, messages, request) };
  } catch (error) {
    if (error instanceof sdk.APIError) return { error: described(error) };
    if (error.message === BROKEN_OFF) return { error: { ...described(error), classes: [BROKEN_OFF] } };
    throw error;
  }
}

function described(error) {
  const errors = Object.entries(sdk).filter(([, kind]) => kind?.prototype instanceof Error);
  return {
    classes: errors.filter(([, kind]) => error instanceof kind).map(([kind]) => kind),
    status: error.status ?? null,
    request_id: error.requestID ?? null,
    body: error.error ?? null,
    headers: Object.fromEntries(error.headers ?? []),
  };
}

console.log(JSON.stringify({ version }));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
