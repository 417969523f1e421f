"""`ClaudCodeMcp`: a tool session and the gateway's tools, for programs with and without a loop."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from mcp.shared.dispatcher import ProgressFnT

from claudcode_mcp_server import tools
from claudcode_mcp_server.gateway import Gateway
from claudcode_mcp_server.session import ToolSession
from claudcode_mcp_server.tools import ToolResult

T = TypeVar("T")


class ClaudCodeMcp:
    """Gives the requests of a key the gateway's web tools, from now until it is closed.

    Opens its session at once: a wrong key or address raises `GatewayError` here. It closes by
    `close()`, at the end of a `with` block, or when the program ends.
    """

    def __init__(self, api_key: str, gateway: str, *, tavily_api_key: str | None = None) -> None:
        """Open a session. `gateway` is its address, with `/v1` or without; `tavily_api_key` is used
        by `call()` in place of the operator's.
        """
        self._gateway = Gateway(gateway, api_key, tavily_api_key)
        self._session = ToolSession(self._gateway)
        self._session.open()

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools as `messages.create(tools=...)` takes them. Raises `GatewayError`."""
        return [tools.definition(tool) for tool in _run(tools.list_tools(self._gateway))]

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_progress: ProgressFnT | None = None,
    ) -> ToolResult:
        """Run a tool. Raises `ToolFailed` when it fails, `GatewayError` when it cannot be run."""
        return tools.result(_run(tools.call_tool(self._gateway, name, arguments, on_progress)))

    def key_status(self) -> dict[str, Any]:
        """Return budget and limits of the key. Raises `GatewayError`."""
        return self._gateway.ask("GET", "/v1/key-status")

    def close(self) -> None:
        """End the session; harmless if it has ended."""
        self._session.close()

    def __enter__(self) -> "ClaudCodeMcp":
        self._session.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClaudCodeMcp:
    """The same for programs with an event loop; it opens with `async with` or `await open()`."""

    def __init__(self, api_key: str, gateway: str, *, tavily_api_key: str | None = None) -> None:
        self._gateway = Gateway(gateway, api_key, tavily_api_key)
        self._session = ToolSession(self._gateway)

    async def open(self) -> None:
        """Open the session, unless it is open. Raises `GatewayError`."""
        await asyncio.to_thread(self._session.open)

    async def tools(self) -> list[dict[str, Any]]:
        """Return the tools as `messages.create(tools=...)` takes them. Raises `GatewayError`."""
        return [tools.definition(tool) for tool in await tools.list_tools(self._gateway)]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_progress: ProgressFnT | None = None,
    ) -> ToolResult:
        """Run a tool. Raises `ToolFailed` when it fails, `GatewayError` when it cannot be run."""
        return tools.result(await tools.call_tool(self._gateway, name, arguments, on_progress))

    async def key_status(self) -> dict[str, Any]:
        """Return budget and limits of the key. Raises `GatewayError`."""
        return await asyncio.to_thread(self._gateway.ask, "GET", "/v1/key-status")

    async def close(self) -> None:
        """End the session; harmless if it has ended."""
        await asyncio.to_thread(self._session.close)

    async def __aenter__(self) -> "AsyncClaudCodeMcp":
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # A notebook has a loop of its own, which this call is holding up already.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, work).result()
