"""The gateway's tools over MCP, through the official SDK; one connection a call.

The server keeps nothing between calls, so there is nothing to keep here either.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult, TextContent, Tool

from claudcode_mcp_server.errors import GatewayError, ToolFailed, refusal, unreachable
from claudcode_mcp_server.gateway import TIMEOUT, Gateway, json_of

PATH = "/mcp"


@dataclass(frozen=True)
class ToolResult:
    """What a tool found: `text` for people and models, `data` for programs."""

    text: str
    data: dict[str, Any]


async def list_tools(gateway: Gateway) -> list[Tool]:
    """Return the tools of the gateway. Raises `GatewayError`."""
    async with _connected(gateway) as client:
        return (await client.list_tools()).tools


async def call_tool(
    gateway: Gateway,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    on_progress: ProgressFnT | None = None,
) -> CallToolResult:
    """Run a tool and return what it answers, be it a failure. Raises `GatewayError`."""
    async with _connected(gateway) as client:
        return await client.call_tool(name, dict(arguments or {}), progress_callback=on_progress)


def definition(tool: Tool) -> dict[str, Any]:
    """Return a tool as Anthropic's Messages API takes it in `tools`."""
    return {
        "name": tool.name,
        "description": tool.description or "",
        "input_schema": tool.input_schema,
    }


def result(answer: CallToolResult) -> ToolResult:
    """Return what a tool found. Raises `ToolFailed`."""
    text = "\n".join(part.text for part in answer.content if isinstance(part, TextContent))
    if answer.is_error:
        raise ToolFailed(text or "The tool failed and did not say why.")
    return ToolResult(text, answer.structured_content or {})


@asynccontextmanager
async def _connected(gateway: Gateway) -> AsyncIterator[Client]:
    try:
        async with httpx2.AsyncClient(
            headers=gateway.headers, timeout=TIMEOUT, event_hooks={"response": [_look]}
        ) as http:
            transport = streamable_http_client(gateway.root + PATH, http_client=http)
            async with Client(transport) as client:
                yield client
    except Exception as error:
        raise _explained(gateway, error) from error


async def _look(answer: httpx2.Response) -> None:
    """Raise what the gateway says of a refused call; the SDK would only say that there was one."""
    if answer.status_code < 400:
        return
    await answer.aread()
    body = json_of(answer)
    if not (isinstance(body, dict) and "jsonrpc" in body):
        raise refusal(answer.status_code, body)


def _explained(gateway: Gateway, error: BaseException) -> BaseException:
    # Task groups of the SDK wrap what happened in them.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return GatewayError(error.message)
    if isinstance(error, httpx2.HTTPError):
        return unreachable(gateway.root, error)
    return error
