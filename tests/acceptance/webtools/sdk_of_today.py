"""The official Python SDK of today, from tests that are not asynchronous."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.acceptance.developer import Developer

LATEST = "2026-07-28"


def use(
    developer: Developer, doing: Callable[[Client], Awaitable[Any]], mode: str = "auto", **headers
) -> Any:
    """Return what `doing` does with a client that is connected."""

    async def connected() -> Any:
        sent = {"Authorization": f"Bearer {developer.secret}"} | headers
        async with httpx2.AsyncClient(headers=sent, timeout=30, trust_env=False) as http:
            transport = streamable_http_client(developer.base_url + "/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await doing(client)

    return asyncio.run(connected())


def call(developer: Developer, name: str, mode: str = LATEST, **arguments) -> Any:
    """Return the result of one call of a tool."""
    return use(developer, lambda client: client.call_tool(name, arguments), mode)
