"""`McpServer` under the name that ClaudCode's documentation imports: the official SDK's server."""

from typing import Any

from mcp.server import MCPServer


class McpServer(MCPServer[Any]):
    """A server for tools of your own: `@server.tool()`, then `server.run()`.

    Everything is `mcp.server.MCPServer`; only the name is another.
    """

    def __init__(self, name: str, version: str = "", **options: Any) -> None:
        super().__init__(name, version=version, **options)


__all__ = ["McpServer"]
