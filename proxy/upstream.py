"""The one place that opens sockets upstream. Knows HTTP; nothing of keys, limits or the ledger."""

from dataclasses import dataclass

import aiohttp
from yarl import URL

from proxy.core.headers import Headers

# Longer than a developer thinks between two calls, shorter than Anthropic's edge keeps a
# connection, so that a POST is not sent into one that is just being closed.
KEEP_ALIVE_S = 20
# aiohttp pauses the socket at twice this: the memory one slow client can pin down.
READ_BUFFER_BYTES = 64 * 1024


class UpstreamUnreachable(Exception):
    """No answer came: no connection, a broken one, or silence for too long."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An Anthropic-compatible account: its name in the ledger, its address, our credential."""

    name: str
    base_url: str
    credential: tuple[tuple[bytes, bytes], ...]


class UpstreamClient:
    """Sends requests upstream over kept-alive connections."""

    def __init__(
        self, *, connections_max: int, connect_seconds_max: float, read_seconds_max: float
    ) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections_max, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=30
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=connect_seconds_max,
                sock_connect=connect_seconds_max,
                sock_read=read_seconds_max,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=READ_BUFFER_BYTES,
            requote_redirect_url=False,
        )

    async def send(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        body: bytes,
    ) -> aiohttp.ClientResponse:
        """Return upstream's answer as soon as its headers are there.

        The caller reads `response.content` and must `release()` or `close()` it.
        Raises `UpstreamUnreachable`.
        """
        suffix = "?" + query.decode("latin-1") if query else ""
        try:
            return await self._session.request(
                method,
                URL(upstream.base_url + path + suffix, encoded=True),
                headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers],
                data=body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnreachable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
