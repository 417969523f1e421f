"""The one place that opens sockets upstream: names, several addresses, a proxy on the way. Knows
nothing of HTTP but CONNECT.

A name can have many addresses, of which some lead nowhere. They are tried in the system's order,
the two families in turn, each a moment after the one before; the first that answers is taken
(RFC 8305, "happy eyeballs"). uvloop does not do this by itself.
"""

import asyncio
import base64
import contextlib
import socket
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # typeshed knows only one of them
    getproxies_environment,
    proxy_bypass_environment,
)

# The RFC's advice: long enough for most connections, too short to be noticed.
ATTEMPT_DELAY_S = 0.25
# A burst of new connections asks the resolver once; a moved name is found again soon.
NAME_SECONDS = 30.0
PROXY_HEAD_BYTES_MAX = 16 * 1024

_Address = tuple[int, Any]  # the family, and what `connect()` takes


class Dialer:
    """Opens connections to one host, and remembers where its name leads."""

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        self.host, self.port = host, port
        self._proxy = proxy_for(host, port, getproxies_environment()) if tls else None
        self._goal = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
        self._looking: asyncio.Task[list[_Address]] | None = None
        self._looked_at = 0.0

    async def dial(self) -> socket.socket:
        """Return a connected socket. Raises `OSError`; the caller bounds the time."""
        try:
            connected = await _first_of(await self._addresses())
        except OSError:
            self._looking = None
            raise
        if self._proxy is not None:
            await _through(connected, self._goal, self._proxy)
        return connected

    def close(self) -> None:
        """Stop asking for the name."""
        if self._looking is not None:
            self._looking.cancel()

    async def _addresses(self) -> list[_Address]:
        loop = asyncio.get_running_loop()
        fresh = loop.time() - self._looked_at < NAME_SECONDS
        if self._looking is None or (self._looking.done() and not fresh):
            self._looked_at = loop.time()
            host, port = self.host, self.port
            if self._proxy is not None:
                host, port = self._proxy.host, self._proxy.port
            self._looking = loop.create_task(_resolve(host, port))
            self._looking.add_done_callback(_note)
        # Others wait for the same answer: whoever gives up must not end the question.
        return await asyncio.shield(self._looking)


class Proxy:
    """A proxy that takes CONNECT, from its `http://[user:password@]host[:port]`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise OSError("HTTPS_PROXY must be an http:// address")
        self.host, self.port = parts.hostname, parts.port or 80
        self.authorization = b""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            secret = base64.b64encode(user.encode())
            self.authorization = b"proxy-authorization: Basic %b\r\n" % secret


def proxy_for(host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy between us and a host that speaks TLS. Raises `OSError` for a bad one.

    `environment` is what `urllib` makes of HTTPS_PROXY ("https") and NO_PROXY ("no").
    """
    url = environment.get("https")
    if not url or proxy_bypass_environment(f"{host}:{port}", dict(environment)):
        return None
    return Proxy(url)


def _note(task: asyncio.Task[list[_Address]]) -> None:
    """Look at the error, which nobody may be waiting for any more: asyncio would log it."""
    if not task.cancelled():
        task.exception()


async def _resolve(host: str, port: int) -> list[_Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    addresses = [(family, address) for family, _type, _proto, _name, address in found]
    first = [one for one in addresses if one[0] == addresses[0][0]]
    other = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, other)) if one is not None]


async def _first_of(addresses: list[_Address]) -> socket.socket:
    if len(addresses) == 1:
        return await _connect(*addresses[0])
    untried = iter(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failed: list[BaseException] = []
    try:
        while True:
            address = next(untried, None)
            if address is not None:
                running.add(asyncio.create_task(_connect(*address)))
            elif not running:
                raise OSError("; ".join(str(error) for error in failed))
            done, _ = await asyncio.wait(
                running,
                timeout=None if address is None else ATTEMPT_DELAY_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                failed.append(error)
    finally:
        await _drop(running)


async def _drop(running: set[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _connect(family: int, address: Any) -> socket.socket:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A stream may say nothing for minutes; what stands between us should not forget it.
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _through(connected: socket.socket, goal: str, proxy: Proxy) -> None:
    """Have `proxy` connect us to `goal`; closes the socket when it does not."""
    loop = asyncio.get_running_loop()
    host = goal.encode("idna")
    request = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (host, host, proxy.authorization)
    with contextlib.ExitStack() as stack:
        stack.callback(connected.close)
        await loop.sock_sendall(connected, request)
        head = b""
        # Nothing of the goal's can be in the same read: under TLS the client speaks first.
        while not head.endswith(b"\r\n\r\n"):
            read = await loop.sock_recv(connected, PROXY_HEAD_BYTES_MAX)
            head += read
            if not read or len(head) > PROXY_HEAD_BYTES_MAX:
                raise OSError("HTTPS_PROXY does not answer as a proxy does")
        status = head.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or status[1] != b"200":
            raise OSError(f"HTTPS_PROXY refused: {head[:100]!r}")
        stack.pop_all()
