"""Asks Tavily, over the gateway's own upstream client.

That client bounds what one answer pins down in memory (it pauses the connection while nobody
reads), counts what is in flight, keeps connections, and needs no thread; the official
`tavily-python` reads answers of any length, and httpx costs five times the CPU (docs/mcp.md). Here
an answer is cut off at `ANSWER_BYTES_MAX`, and a call at `seconds_max`. Nothing is sent twice: a
call that may have reached Tavily may have been charged.

Knows no keys, limits or ledger; the addresses that a call names are fetched by Tavily alone.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from proxy.core.headers import Headers
from proxy.upstream import Answer, Upstream, UpstreamBroken, UpstreamClient, UpstreamUnreachable
from webtools.core.calls import Tool, ToolCall

# A crawl of a hundred long pages; orjson takes some five times as much to hold it.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
MESSAGE_CHARS_MAX = 400
# How long Tavily works at most, by its own bounds, and a little for the way.
SECONDS_MAX: dict[Tool, float] = {
    Tool.SEARCH: 70.0,
    Tool.EXTRACT: 70.0,
    Tool.CRAWL: 160.0,
    Tool.MAP: 160.0,
}


class TavilyError(Exception):
    """The call brought no results. `message` is a sentence for the developer.

    NotConfigured        nobody gave a credential
    CallRefused          Tavily says that the call itself is wrong: 400, 404, 413, 422
    CredentialRefused    Tavily does not take the credential: 401, 403
    Exhausted            the account is out of credits or calls: 429, 432, 433
    TavilyUnreachable    no connection, nonsense, 5xx, or an answer that broke off
    TavilySlow           no answer in time
    AnswerTooLarge       more than `ANSWER_BYTES_MAX`

    `charged` says whether Tavily may have charged for it.
    """

    status: ClassVar[int] = 502
    charged: ClassVar[bool] = False

    def __init__(self, message: str, *, http_status: int = 0, retry_after_s: int | None = None):
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class NotConfigured(TavilyError):
    """There is no credential for Tavily."""

    status = 503


class CallRefused(TavilyError):
    """Tavily says that the call itself is wrong."""

    status = 400


class CredentialRefused(TavilyError):
    """Tavily does not take the credential."""

    status = 502


class Exhausted(TavilyError):
    """The account at Tavily is out of credits, or calls too often."""

    status = 503


class TavilyUnreachable(TavilyError):
    """Tavily could not be reached, failed, or broke off."""


class TavilySlow(TavilyError):
    """Tavily did not answer in time."""

    status, charged = 504, True


class AnswerTooLarge(TavilyError):
    """The answer was longer than the gateway takes."""

    charged = True


@dataclass(frozen=True, slots=True)
class Credential:
    """A key of Tavily's and the address that it belongs to. `secret` "" sends none at all.

    `own` says that it is the caller's, who pays for it.
    """

    base_url: str
    secret: str
    own: bool = False

    def __repr__(self) -> str:
        return f"Credential({self.base_url!r}, own={self.own})"


class TavilyClient:
    """Calls Tavily, at most `connections_max` at once."""

    def __init__(
        self, *, connections_max: int, connect_seconds_max: float, seconds_max: float
    ) -> None:
        self._seconds_max = seconds_max
        self._client = UpstreamClient(
            connections_max=connections_max,
            connect_seconds_max=connect_seconds_max,
            read_seconds_max=seconds_max,
        )

    async def call(self, call: ToolCall, credential: Credential) -> dict[str, Any]:
        """Return the object that Tavily answers. Raises `TavilyError`; to cancel is to hang up."""
        seconds = min(SECONDS_MAX[call.tool], self._seconds_max)
        try:
            async with asyncio.timeout(seconds):
                return await self._call(call, credential)
        except TimeoutError:
            raise TavilySlow(
                f"Tavily did not answer within {seconds:g} seconds. Ask for less, or try again."
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def _call(self, call: ToolCall, credential: Credential) -> dict[str, Any]:
        body = orjson.dumps(call.body | {"include_usage": True})
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"claudcode-gateway"),
            (b"x-client-source", b"claudcode"),
        ]
        if credential.secret:
            headers.append((b"authorization", b"Bearer " + credential.secret.encode("latin-1")))
        upstream = Upstream("tavily", credential.base_url, ())
        try:
            answer = await self._client.send(upstream, "POST", f"/{call.tool}", b"", headers, body)
        except UpstreamUnreachable as error:
            if error.timed_out and error.sent:
                raise TavilySlow("Tavily did not answer in time. Try again shortly.") from None
            raise TavilyUnreachable("Tavily cannot be reached. Try again shortly.") from error
        try:
            return await _read(answer, own=credential.own)
        finally:
            answer.finish()


async def _read(answer: Answer, *, own: bool) -> dict[str, Any]:
    good = answer.status == 200
    content = await _content(answer, ANSWER_BYTES_MAX if good else ERROR_BYTES_MAX, cut=not good)
    try:
        decoded = orjson.loads(content)
    except orjson.JSONDecodeError:
        decoded = None
    if not good:
        retry_after = answer.header(b"retry-after").decode("latin-1")
        raise _refusal(answer.status, decoded, retry_after, own=own)
    if not isinstance(decoded, dict):
        raise TavilyUnreachable("Tavily's answer makes no sense. Try again shortly.")
    return decoded


async def _content(answer: Answer, bytes_max: int, *, cut: bool) -> bytes:
    pieces, size = [], 0
    try:
        while piece := await answer.piece():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                if cut:
                    break
                raise AnswerTooLarge(
                    f"Tavily's answer is over {bytes_max // 2**20} MiB. Ask for fewer pages.",
                    http_status=200,
                )
    except UpstreamBroken as error:
        raise TavilyUnreachable("Tavily's answer broke off. Try again shortly.") from error
    return b"".join(pieces)


def _refusal(status: int, content: Any, retry_after: str, *, own: bool) -> TavilyError:
    said, whose = _said(content), "Your Tavily key" if own else "The gateway's Tavily account"
    if status in (401, 403):
        # Of the gateway's own account a developer learns no more than that it does not work.
        detail = f": {said}" if own and said else ""
        return CredentialRefused(f"{whose} was refused{detail}.", http_status=status)
    if status in (429, 432, 433):
        wait_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return Exhausted(
            f"{whose} has used up its credits or calls too often. Try again later.",
            http_status=status,
            retry_after_s=min(wait_s, 86_400) if wait_s is not None else None,
        )
    if 400 <= status < 500:
        return CallRefused(f"Tavily refused the call: {said or status}", http_status=status)
    return TavilyUnreachable(
        f"Tavily failed with status {status}. Try again shortly.", http_status=status
    )


def _said(content: Any) -> str:
    """Return the words of Tavily's error, which come in three shapes."""
    detail = content.get("detail") if isinstance(content, dict) else None
    if isinstance(detail, dict):
        detail = detail.get("error")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        detail = detail[0].get("msg")
    text = detail if isinstance(detail, str) else ""
    return "".join(c for c in text[:MESSAGE_CHARS_MAX] if c.isprintable()).rstrip(".")
