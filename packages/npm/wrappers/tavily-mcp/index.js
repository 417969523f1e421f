/** `tavily-mcp` as a class: each call starts the program, speaks MCP with it, and ends it. */

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { fileURLToPath } from "node:url";

const PROGRAM = "tavily-mcp-server/build/index.js";
/** A crawl may take minutes. */
const CALL_MS_MAX = 300_000;

export class TavilyMcp {
  #apiKey;

  constructor({ apiKey } = {}) {
    this.#apiKey = apiKey ?? process.env.TAVILY_API_KEY;
  }

  async tools() {
    return this.#connected(async (client) => (await client.listTools()).tools);
  }

  async call(name, args = {}) {
    const answer = await this.#connected((client) =>
      client.callTool({ name, arguments: args }, undefined, { timeout: CALL_MS_MAX }),
    );
    const text = answer.content.map((part) => part.text ?? "").join("\n");
    if (answer.isError) {
      throw new Error(text);
    }
    return text;
  }

  search(query, options = {}) {
    return this.call("tavily_search", { query, ...options });
  }

  extract(urls, options = {}) {
    return this.call("tavily_extract", { urls, ...options });
  }

  crawl(url, options = {}) {
    return this.call("tavily_crawl", { url, ...options });
  }

  map(url, options = {}) {
    return this.call("tavily_map", { url, ...options });
  }

  async #connected(work) {
    const own = this.#apiKey ? { TAVILY_API_KEY: this.#apiKey } : {};
    const client = new Client({ name: "claudcode-tavily-mcp", version: "1.0.1" });
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [fileURLToPath(import.meta.resolve(PROGRAM))],
      env: { ...process.env, ...own },
    });
    await client.connect(transport);
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}
