"""`TavilyMcp` under the name that ClaudCode's documentation imports: Tavily, also as an MCP server.

Calls go to Tavily directly with a key of your own, not through a gateway.
"""

from typing import Any, Literal

from hono_mcp import McpServer
from tavily import TavilyClient  # type: ignore[import-untyped]


class TavilyMcp:
    """Tavily's search, extract, crawl and map, as methods and as MCP tools (`server`, `run()`)."""

    def __init__(self, api_key: str | None = None, *, api_base_url: str | None = None) -> None:
        """Without `api_key`, `TAVILY_API_KEY` of the environment counts. Nothing is called yet."""
        self._client: Any = TavilyClient(api_key, api_base_url=api_base_url)
        self.server = McpServer(name="tavily-mcp", version="1.0.1")
        for method in (self.search, self.extract, self.crawl, self.map):
            self.server.add_tool(method)

    def search(
        self,
        query: str,
        topic: Literal["general", "news", "finance"] = "general",
        search_depth: Literal["basic", "advanced"] = "basic",
        max_results: int = 5,
        time_range: Literal["day", "week", "month", "year"] | None = None,
        include_domains: list[str] | None = None,
        exclude_domains: list[str] | None = None,
    ) -> dict[str, Any]:
        """Search the web; returns pages with their address, title and the passage that fits."""
        found: dict[str, Any] = self._client.search(
            query,
            topic=topic,
            search_depth=search_depth,
            max_results=max_results,
            time_range=time_range,
            include_domains=include_domains,
            exclude_domains=exclude_domains,
        )
        return found

    def extract(
        self, urls: list[str], format: Literal["markdown", "text"] = "markdown"
    ) -> dict[str, Any]:
        """Return the content of pages, without menus and advertisements."""
        found: dict[str, Any] = self._client.extract(urls, format=format)
        return found

    def crawl(
        self,
        url: str,
        max_depth: int = 1,
        max_breadth: int = 20,
        limit: int = 50,
        instructions: str | None = None,
    ) -> dict[str, Any]:
        """Follow the links of a site and return what its pages say."""
        found: dict[str, Any] = self._client.crawl(
            url,
            max_depth=max_depth,
            max_breadth=max_breadth,
            limit=limit,
            instructions=instructions,
        )
        return found

    def map(self, url: str, max_depth: int = 1, limit: int = 50) -> dict[str, Any]:
        """Return the addresses of a site's pages."""
        found: dict[str, Any] = self._client.map(url, max_depth=max_depth, limit=limit)
        return found

    def run(self) -> None:
        """Serve the four tools over MCP on stdin and stdout until stdin ends."""
        self.server.run("stdio")


__all__ = ["TavilyMcp"]
