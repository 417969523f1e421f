"""Web tools for Claude: the MCP server, Tavily's REST, and tools run inside Messages."""
