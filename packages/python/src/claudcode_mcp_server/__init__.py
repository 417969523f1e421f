"""Web tools of a ClaudCode gateway, for Python programs and for MCP clients that speak stdio."""

from claudcode_mcp_server.client import AsyncClaudCodeMcp, ClaudCodeMcp
from claudcode_mcp_server.errors import GatewayError, GatewayUnreachable, KeyRefused, ToolFailed
from claudcode_mcp_server.tools import ToolResult

__version__ = "1.0.1"
__all__ = [
    "AsyncClaudCodeMcp",
    "ClaudCodeMcp",
    "GatewayError",
    "GatewayUnreachable",
    "KeyRefused",
    "ToolFailed",
    "ToolResult",
]
