/** `tavily-mcp` as a class: each call starts the program, speaks MCP with it, and ends it. */

import type { Tool } from "@modelcontextprotocol/sdk/types.js";

type Options = Record<string, unknown>;

export interface TavilyMcpOptions {
  /** Your own key of Tavily's; `TAVILY_API_KEY` of the environment without it. */
  apiKey?: string | undefined;
}

export declare class TavilyMcp {
  constructor(options?: TavilyMcpOptions);
  /** Return the tools of `tavily-mcp`. */
  tools(): Promise<Tool[]>;
  /** Run one and return the text it answers. Throws an `Error` with that text if it fails. */
  call(name: string, args?: Options): Promise<string>;
  search(query: string, options?: Options): Promise<string>;
  extract(urls: string[], options?: Options): Promise<string>;
  crawl(url: string, options?: Options): Promise<string>;
  map(url: string, options?: Options): Promise<string>;
}
