"""One request on its way through the simulator: its headers, its entry in the books, its answer."""

import time
from urllib.parse import parse_qs

from simulator import errors
from simulator.answer_headers import AnswerHeaders, Headers
from simulator.books import Entry
from simulator.client import Client, Scope
from simulator.errors import Refused

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"


class Exchange:
    """One request and its one answer."""

    def __init__(
        self, scope: Scope, client: Client, entry: Entry, answer_headers: AnswerHeaders
    ) -> None:
        self.scope = scope
        self.client = client
        self.entry = entry
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._answer_headers = answer_headers

    def header(self, name: bytes) -> str:
        """Return a request header, or ""."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def query(self) -> dict[str, list[str]]:
        """The query string, decoded."""
        return parse_qs(self.entry.query)

    @property
    def credential(self) -> str:
        """The key or token that the client sent, or ""; a key wins, as upstream."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        return self.header(b"x-api-key") or bearer

    def accepts_gzip(self) -> bool:
        """Return whether the client can read a compressed answer."""
        return "gzip" in self.header(b"accept-encoding")

    def answer_headers(self, content_type: bytes) -> Headers:
        """Return the headers of the answer, without its length."""
        return self._answer_headers.make(self.entry.request_id, content_type, int(time.time()))

    async def answer(self, body: bytes, *, gzip: bool = False) -> None:
        """Answer 200 with a whole JSON body."""
        headers = self.answer_headers(JSON)
        if not gzip:
            headers.append((b"content-length", b"%d" % len(body)))
        self.entry.status = 200
        await self.client.start(200, headers, gzip=gzip)
        await self.client.write(body, last=True)
        self.entry.outcome = "finished"

    async def refuse(self, refused: Refused) -> None:
        """Answer with an error."""
        entry = self.entry
        body = refused.raw.encode() or errors.body(refused.kind, refused.message, entry.request_id)
        headers = self.answer_headers(HTML if refused.raw else JSON)
        headers += refused.headers
        if not any(name == b"x-should-retry" for name, _ in refused.headers):
            should = b"true" if errors.is_retryable(refused.status) else b"false"
            headers.append((b"x-should-retry", should))
        headers.append((b"content-length", b"%d" % len(body)))
        entry.status, entry.outcome, entry.usage = refused.status, "refused", None
        await self.client.start(refused.status, headers)
        await self.client.write(body, last=True)
