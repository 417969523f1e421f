"""Free calls upstream for the control plane: does an account answer, and which models has it?

They go the way of exchanges: the same address, the system's trusted authorities, no proxy of the
environment. No redirect is followed, so the credential reaches the account's own origin alone, and
it is struck out of whatever upstream says.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

import httpx
import orjson

from proxy.core.account import Account
from proxy.core.listing import BadPage, ListedModel, Page, parse_page

# Whoever pressed "Test" waits for it.
SECONDS_MAX = 10.0
PAGE_SIZE = 1000
# No upstream has more models than fit there; without a bound a page that names itself as the next
# would be read for ever.
PAGES_MAX = 10
# A thousand entries of Anthropic's with all they say.
PAGE_BYTES_MAX = 8 * 1024 * 1024
SAID_LENGTH_MAX = 200
ASKED_AT_ONCE = 8

HEADERS = {
    "accept": "application/json",
    "anthropic-version": "2023-06-01",
    "user-agent": "claudcode",
}
HINTS = {
    401: "The credential is refused.",
    403: "The credential may not do this.",
    404: "There is no models list at this address.",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of listing an account's models. `trouble` is empty if all went well.

    `status` is 0 when no answer came; `milliseconds` are those to the first answer.
    """

    status: int
    milliseconds: int
    models: tuple[ListedModel, ...]
    trouble: str

    def __str__(self) -> str:
        if self.trouble:
            return self.trouble
        return f"It answers: HTTP {self.status} in {self.milliseconds} ms, {_count(self.models)}."


class _Trouble(Exception):
    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


def probe(account: Account, *, seconds_max: float = SECONDS_MAX) -> Probe:
    """List the account's models, all pages. Never raises for what upstream does."""
    return probe_all([account], seconds_max=seconds_max)[0]


def probe_all(accounts: Sequence[Account], *, seconds_max: float = SECONDS_MAX) -> list[Probe]:
    """List the models of all accounts at once."""

    async def ask() -> list[Probe]:
        return await asyncio.gather(*(_probe(account, seconds_max) for account in accounts))

    return asyncio.run(ask())


def known(account: Account, model_ids: Sequence[str]) -> set[str]:
    """Return those of `model_ids` that the account answers to, listed or not.

    What is not answered in time counts as unknown.
    """
    return asyncio.run(_known(account, model_ids)) if model_ids else set()


async def _probe(account: Account, seconds_max: float) -> Probe:
    began = time.monotonic()
    milliseconds = 0
    models: list[ListedModel] = []
    try:
        async with asyncio.timeout(seconds_max), _client(account) as client:
            after = ""
            for _ in range(PAGES_MAX):
                page = await _page(client, after)
                milliseconds = milliseconds or _since(began)
                models += page.models
                after = page.last_id
                if not after:
                    return Probe(200, milliseconds, tuple(models), "")
        trouble, status = f"The models list has no end after {PAGES_MAX} pages.", 200
    except _Trouble as error:
        trouble, status = str(error), error.status
    except TimeoutError:
        trouble, status = f"It did not answer within {seconds_max:g} s.", 0
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        trouble, status = _unreached(error), 0
    return Probe(status, milliseconds or _since(began), (), _struck(account, trouble))


async def _page(client: httpx.AsyncClient, after: str) -> Page:
    query = {"limit": str(PAGE_SIZE)} | ({"after_id": after} if after else {})
    status, headers, body = await _get(client, "/v1/models", query)
    if status != 200:
        raise _Trouble(_refused(status, headers, body), status)
    try:
        return parse_page(body)
    except BadPage as error:
        raise _Trouble(f"It answers, but not with a models list: {error}.", status) from error


async def _get(
    client: httpx.AsyncClient, path: str, query: dict[str, str]
) -> tuple[int, httpx.Headers, bytes]:
    async with client.stream("GET", path, params=query) as answer:
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > PAGE_BYTES_MAX:
                raise _Trouble("Its answer is too long to be a models list.", answer.status_code)
    return answer.status_code, answer.headers, bytes(body)


async def _known(account: Account, model_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    gate = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(client: httpx.AsyncClient, model_id: str) -> None:
        async with gate:
            try:
                status, _, _ = await _get(client, f"/v1/models/{quote(model_id, safe='')}", {})
            except (_Trouble, httpx.HTTPError, OSError):
                return
        if status == 200:
            found.add(model_id)

    try:
        async with asyncio.timeout(SECONDS_MAX), _client(account) as client:
            await asyncio.gather(*(ask(client, model_id) for model_id in model_ids))
    except TimeoutError:
        pass
    return found


def _client(account: Account) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=account.base_url,
        headers=HEADERS | {n.decode(): v.decode() for n, v in account.headers},
        follow_redirects=False,
        trust_env=False,
        timeout=None,  # One bound over everything is above.
        verify=_authorities(),
    )


@cache
def _authorities() -> ssl.SSLContext:
    # It takes tens of milliseconds to read them.
    return ssl.create_default_context()


def _refused(status: int, headers: httpx.Headers, body: bytes) -> str:
    if 300 <= status < 400:
        where = headers.get("location", "nowhere")[:SAID_LENGTH_MAX]
        return f"HTTP {status}: it redirects to {where}. If that is right, give that address."
    said = _message(body)
    parts = [f"HTTP {status}.", HINTS.get(status, ""), f"It says: {said}" if said else ""]
    return " ".join(part for part in parts if part)


def _message(body: bytes) -> str:
    try:
        said = orjson.loads(body)["error"]["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in str(said))
    return plain[:SAID_LENGTH_MAX]


def _unreached(error: Exception) -> str:
    # httpx and httpcore wrap what the socket said; the innermost has the reason.
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    verb = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke off"
    return f"It {verb}: {_reason(inner)}."


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "no such name"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # Its own text repeats the address as Python writes it.
    return str(error)[:SAID_LENGTH_MAX] or type(error).__name__


def _struck(account: Account, words: str) -> str:
    for _, value in account.headers:
        words = words.replace(value.decode().removeprefix("Bearer "), "…")
    return words


def _since(began: float) -> int:
    return max(1, round((time.monotonic() - began) * 1000))


def _count(models: Sequence[ListedModel]) -> str:
    return f"{len(models)} model{'' if len(models) == 1 else 's'}"
