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


class UpstreamBroken(Exception):
    """An answer that had begun broke off, or fell silent for too long."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An Anthropic-compatible account: its name in the ledger, its address, our credential."""

    name: str
    base_url: str
    credential: tuple[tuple[bytes, bytes], ...]


class Answer:
    """What upstream answers: status and headers are here, the body comes in pieces.

    Header names are lower case. Whoever has an answer calls `finish()` on it, whatever happened.
    """

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]

    def header(self, name: bytes) -> bytes:
        """Return the value of a header, empty if it is not there."""
        return next((value for found, value in self.headers if found == name), b"")

    @property
    def length(self) -> int | None:
        """Bytes of the body as told beforehand, `None` if they were not."""
        return self._response.content_length

    async def piece(self) -> bytes:
        """Return what came next, empty at the end. Raises `UpstreamBroken`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamBroken(repr(error)) from None

    def finish(self) -> None:
        """Give the connection back if the body was read to its end, and cut it off if not."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


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
    ) -> Answer:
        """Return upstream's answer as soon as its headers are there. The caller finishes it.

        Raises `UpstreamUnreachable`.
        """
        suffix = "?" + query.decode("latin-1") if query else ""
        try:
            return Answer(
                await self._session.request(
                    method,
                    URL(upstream.base_url + path + suffix, encoded=True),
                    headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers],
                    data=body,
                    allow_redirects=False,
                )
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnreachable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
