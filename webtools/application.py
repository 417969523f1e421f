"""Web tools as an ASGI application: `/mcp` and `/tavily/…`, who calls, start and stop.

One `Application` serves one process and shares limits, ledger and key look-ups with the data
plane (`proxy.application.Parts`). The MCP SDK takes 32 MB and seconds to load, so a process loads
it with the first request to `/mcp`, in a thread, while everything else goes on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from proxy.application import Application as DataPlane
from proxy.application import Parts
from proxy.application import application as data_plane
from proxy.call import Call, ClientGone
from proxy.core.errors import (
    Fault,
    Forbidden,
    GatewayError,
    Unauthorized,
    Unavailable,
    WrongMethod,
)
from webtools.messages import WebMessages
from webtools.rest import TavilyRest
from webtools.runner import Caller, WebTools, caller_of
from webtools.tavily import TavilyClient

logger = logging.getLogger(__name__)

# Arguments are a few hundred bytes; a list of 300 domains has nine thousand.
BODY_BYTES_MAX = 256 * 1024


class Application:
    """Routes `/mcp` and `/tavily/…`."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._starting: asyncio.Lock | None = None
        self._parts: Parts | None = None
        self._mcp: Any = None
        # Set by whoever knows which keys have a tool session.
        self.has_session: Callable[[int], bool] = lambda _apikey_id: False
        plane.built = self._build

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        call = Call(scope, receive, send)
        rest = call.path.startswith("/tavily/")
        self._plane.trace(call, "/tavily" if rest else "/mcp")
        try:
            await self._start()
            await (self._rest(call) if rest else self._serve_mcp(call, scope, receive, send))
        except ClientGone:
            pass
        except GatewayError as error:
            await self._refuse(call, error, rest)
        except Exception:
            logger.exception("a fault of the gateway", extra=call.log_fields)
            await self._refuse(call, Fault("The gateway failed. Try again shortly."), rest)
        except asyncio.CancelledError:
            stopping = Unavailable("The gateway is stopping. Try again shortly.", retry_after_s=1)
            await self._refuse(call, stopping, rest)
        finally:
            if call.trace is not None:
                call.trace.ended(call.status, call.policy, hung_up=call.hung_up)
            await call.close()

    async def tools(self) -> WebTools:
        """Return what runs web tools in this process."""
        await self._start()
        return self._tools

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Start and stop with the server, and the data plane with us."""

        async def told() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.stop()
            return message

        await self._plane.lifespan(scope, told, send)

    async def stop(self) -> None:
        """Close every connection."""
        if self._parts is not None:
            self._parts = None
            if self._mcp is not None:
                await self._mcp.stop()
                self._mcp = None
            await self._tavily.close()

    # --- inside ---------------------------------------------------------------------------------

    def _build(self, parts: Parts) -> None:
        self._tavily = TavilyClient(
            connections_max=settings.TAVILY_CONNECTIONS_MAX,
            connect_seconds_max=settings.UPSTREAM_CONNECT_SECONDS_MAX,
            seconds_max=settings.TAVILY_SECONDS_MAX,
        )
        self._tools = WebTools(parts, self._tavily)
        self._parts = parts
        parts.gateway.tools = WebMessages(parts.gateway, self._tools, self.has_session)

    async def _start(self) -> None:
        self._starting = self._starting or asyncio.Lock()
        if self._parts is None:
            await self._plane.parts()

    async def _load_mcp(self) -> Any:
        assert self._starting is not None
        async with self._starting:
            if self._mcp is None:
                loaded = await asyncio.to_thread(_import_mcp)
                assert self._parts is not None
                endpoint = loaded.McpEndpoint(self._parts, self._tools)
                await endpoint.start()
                self._mcp = endpoint
            return self._mcp

    async def _rest(self, call: Call) -> None:
        tool = call.path.removeprefix("/tavily/").strip("/")
        caller, body = await self._read(call)
        await TavilyRest(self._tools).answer(call, caller, tool, body)

    async def _serve_mcp(self, call: Call, scope: Any, receive: Any, send: Any) -> None:
        require_known_host(call)
        if call.method != "POST":
            raise WrongMethod(
                "This MCP server keeps no sessions: it takes POST alone.", allow="POST"
            )
        caller, body = await self._read(call)
        endpoint = await self._load_mcp()
        await endpoint.answer(call, caller, body, scope, receive, send)

    async def _read(self, call: Call) -> tuple[Caller, bytes]:
        """Return who calls, and the body, which is small enough not to be counted further."""
        assert self._parts is not None
        gateway = self._parts.gateway
        policy = await gateway.identify(call)
        if call.method != "POST":
            raise WrongMethod(f"{call.path[:200]} takes POST, not {call.method}.", allow="POST")
        body = await call.read_body(gateway.bodies, BODY_BYTES_MAX, gateway.bounds.body_seconds_max)
        gateway.bodies.held -= len(body)
        return caller_of(call, policy, gateway), body

    async def _refuse(self, call: Call, error: GatewayError, rest: bool) -> None:
        if call.trace is not None:
            call.trace.refused(error.wire_type)
        if call.started:
            return
        with contextlib.suppress(OSError):
            if rest:
                body = orjson.dumps({"detail": {"error": error.message}})
                await call.answer(error.status, body, error.headers())
            elif isinstance(error, Unauthorized):
                call.extra_headers = [(b"www-authenticate", b'Bearer realm="claudcode"')]
                await call.refuse(error)
            else:
                await call.refuse(error)


def require_known_host(call: Call) -> None:
    """Raise `Forbidden` for a host, or the page of one, that is not among ALLOWED_HOSTS: a page
    whose name leads here for a moment must not use a browser to call this server.
    """
    host = call.text(b"host", 300)
    origin = call.text(b"origin", 300)
    allowed = settings.ALLOWED_HOSTS
    for named in (host, origin.partition("://")[2] if origin else host):
        domain, _port = split_domain_port(named)
        if not domain or not validate_host(domain, allowed):
            raise Forbidden(
                f"This MCP server is not known as {named[:100] or 'nothing'}. Its operator lists"
                " host names in CLAUDCODE_ALLOWED_HOSTS."
            )


def _import_mcp() -> Any:
    from webtools import mcp_endpoint  # The SDK is too heavy for a process that never needs it.

    return mcp_endpoint


application = Application(data_plane)
