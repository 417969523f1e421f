"""The simulator as an ASGI application: routes, authenticates and keeps the books.

`create_app(Options(...))` makes one; `app` is one with the defaults.
"""

import os
import time
from collections.abc import Awaitable, Callable
from sys import intern
from typing import Any
from urllib.parse import parse_qs

import orjson

from simulator.answer_headers import AnswerHeaders
from simulator.books import PAGE_MAX, Books, Entry
from simulator.catalogue import BadPage, Catalogue
from simulator.client import Client, Receive, Scope, Send
from simulator.errors import Refused
from simulator.exchange import JSON, Exchange
from simulator.messages import MessagesApi
from simulator.options import Options
from simulator.request import check_version
from simulator.tavily import PATHS as TAVILY_PATHS
from simulator.tavily import TavilyApi

Handler = Callable[[Exchange], Awaitable[None]]

MODEL_PATH = "/v1/models/"
CONTROL_PATH = "/__simulator/"
# What clients ask before they begin, without a key.
PROBES = frozenset({"/", "/api/hello", "/v1/api/hello"})
NOTED_HEADERS = frozenset(
    b"user-agent x-exchange-id anthropic-version anthropic-beta content-type accept-encoding "
    b"x-claude-code-session-id x-app".split()
)


class Simulator:
    """The application. One object serves one process."""

    def __init__(self, options: Options) -> None:
        self._credentials = options.credentials
        self._catalogue = Catalogue(options.models)
        self._api = MessagesApi(options, self._catalogue)
        self._tavily = TavilyApi()
        self._books = Books(options.books_max)
        self._answer_headers = AnswerHeaders()
        # Part of every id, so that two runs never share one, unless a seed asks for it.
        self._run = os.urandom(4).hex() if options.seed is None else f"{options.seed:08x}"
        self._served = 0
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/messages": ("POST", self._api.messages),
            "/v1/messages/count_tokens": ("POST", self._api.count_tokens),
            "/v1/models": ("GET", self._models),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"the simulator does not speak {scope['type']}")
        elif scope["path"].startswith(CONTROL_PATH):
            await self._control(scope, Client(scope, receive, send))
        else:
            await self._serve(scope, Client(scope, receive, send))

    async def _serve(self, scope: Scope, client: Client) -> None:
        entry = self._entry(scope)
        exchange = Exchange(scope, client, entry, self._answer_headers)
        self._books.begin(entry)
        try:
            await self._route(exchange)
        except Refused as refused:
            await exchange.refuse(refused)
        finally:
            client.close()
            if client.gone and entry.outcome == "open":
                entry.outcome = "hung_up"
            now_ms = _now_ms()
            if entry.outcome == "hung_up":
                entry.hung_up_after_ms = now_ms - entry.started_at_ms
            self._books.end(entry, now_ms)

    def _entry(self, scope: Scope) -> Entry:
        self._served += 1
        return Entry(
            started_at_ms=_now_ms(),
            method=intern(scope["method"]),
            path=intern(scope["path"]),
            query=_shared(scope["query_string"]),
            request_id=f"req_sim{self._run}{self._served:010x}",
            headers=tuple(
                (_shared(name), _shared(value))
                for name, value in scope["headers"]
                if name in NOTED_HEADERS
            ),
        )

    async def _route(self, exchange: Exchange) -> None:
        path, method = exchange.entry.path, exchange.entry.method
        if method == "HEAD" and path in PROBES:
            await exchange.answer(b"")
            return
        if TAVILY_PATHS.get(path) == method:
            await self._tavily.answer(exchange)
            return
        allowed, handler = self._routes.get(path, ("GET", self._model))
        if path not in self._routes and not path.startswith(MODEL_PATH):
            raise Refused(404)
        if method != allowed:
            raise Refused(405, "Method Not Allowed", headers=((b"allow", allowed.encode()),))
        self._authenticate(exchange)
        check_version(exchange.header(b"anthropic-version"))
        await handler(exchange)

    def _authenticate(self, exchange: Exchange) -> None:
        credential = exchange.credential
        if not credential:
            raise Refused(401, "x-api-key header is required")
        exchange.entry.credential_last_four = intern(credential[-4:])
        if self._credentials and credential not in self._credentials:
            as_key = exchange.header(b"x-api-key")
            raise Refused(401, "invalid x-api-key" if as_key else "Invalid bearer token")

    async def _models(self, exchange: Exchange) -> None:
        try:
            page = self._catalogue.page(exchange.query)
        except BadPage as mistake:
            raise Refused(400, str(mistake)) from mistake
        await exchange.answer(orjson.dumps(page))

    async def _model(self, exchange: Exchange) -> None:
        model_id = exchange.entry.path.removeprefix(MODEL_PATH)
        model = self._catalogue.find(model_id)
        if model is None:
            raise Refused(404, f"model: {model_id}")
        await exchange.answer(orjson.dumps(model.listed()))

    async def _control(self, scope: Scope, client: Client) -> None:
        status, answer = self._controlled(scope)
        body = orjson.dumps(answer)
        length = (b"content-length", b"%d" % len(body))
        await client.start(status, [(b"content-type", JSON), length])
        await client.write(body, last=True)

    def _controlled(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        asked = f"{scope['method']} {scope['path'].removeprefix(CONTROL_PATH)}"
        if asked == "POST reset":
            self._books.clear()
            self._api.reset()
            return 200, {}
        if asked != "GET books":
            return 404, {"error": "no such page of the simulator"}
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            since = int(query.get("since", ["0"])[0])
            limit = int(query.get("limit", [str(PAGE_MAX)])[0])
        except ValueError:
            return 400, {"error": "since and limit are numbers"}
        return 200, self._books.page(max(0, since), max(1, limit))


def create_app(options: Options | None = None) -> Simulator:
    """Return a simulator with its own books."""
    return Simulator(options or Options())


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _shared(raw: bytes) -> str:
    # Most requests are alike: sharing their strings halves the memory of the books.
    return intern(raw.decode("latin-1"))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


app = create_app()
