"""A stand-in for Tavily: search, extract, crawl and map, with results that are plainly made up.

Takes the same marks as messages do, in the query, the instructions or an address: `status`, `slow`
and `cut`; `large` pads the first result to that many kilobytes. Results repeat for the same
question.
"""

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from simulator import marks
from simulator.errors import Refused
from simulator.exchange import JSON, Exchange

USAGE = "/usage"
# Each with the method it takes.
PATHS = dict.fromkeys(("/search", "/extract", "/crawl", "/map"), "POST") | {USAGE: "GET"}
BODY_BYTES_MAX = 256 * 1024
LARGE_KB_MAX = 64 * 1024
SITES = ("lanternfish.example", "quill-and-anvil.example", "seventh-tide.example")
DISCLAIMER = "This text is made up by ClaudCode's simulator."


class TavilyApi:
    """Answers Tavily's paths. Errors have its shape: `{"detail": {"error": "…"}}`."""

    def __init__(self) -> None:
        self._counters = marks.Counters()

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        if not exchange.credential:
            await _fail(exchange, 401, "Unauthorized: missing or invalid API key.")
            return
        exchange.entry.credential_last_four = exchange.credential[-4:]
        if exchange.entry.path == USAGE:
            await exchange.answer(orjson.dumps({"key": {"usage": 0, "limit": 1000}}))
            return
        content = await exchange.client.read(BODY_BYTES_MAX)
        if content is None:
            return
        body = _object(content)
        if body is None:
            await _fail(exchange, 422, "The body is not a JSON object.")
            return
        try:
            await self._answer(exchange, body)
        except Refused as refused:
            await _fail(exchange, refused.status, refused.message, refused.headers)

    async def _answer(self, exchange: Exchange, body: dict[str, Any]) -> None:
        large = 0
        for mark in self._counters.spend(marks.find(_asked(body))):
            if mark.name == "large":
                large = min(LARGE_KB_MAX, int(mark.number()))
            elif mark.name == "slow":
                if not await exchange.client.sleep(mark.number("seconds", default=1)):
                    return
            elif mark.name == "status":
                raise Refused(int(mark.number()), mark.words.get("message", "simulated failure"))
            elif mark.name == "cut":
                await exchange.client.start(200, exchange.answer_headers(JSON))
                await exchange.client.write(b'{"query":')
                await exchange.client.cut()
                exchange.entry.outcome = "cut"
                return
        answer = _ANSWERS[exchange.entry.path](body)
        if large:
            answer["results"][0] = _padded(answer["results"][0], large * 1024)
        answer |= {"response_time": 0.01, "request_id": exchange.entry.request_id}
        await exchange.answer(orjson.dumps(answer))


async def _fail(
    exchange: Exchange, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    body = orjson.dumps({"detail": {"error": message}})
    length = (b"content-length", b"%d" % len(body))
    exchange.entry.status, exchange.entry.outcome = status, "refused"
    await exchange.client.start(status, [*exchange.answer_headers(JSON), *headers, length])
    await exchange.client.write(body, last=True)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        decoded = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return decoded if isinstance(decoded, dict) else None


def _asked(body: dict[str, Any]) -> str:
    urls = body.get("urls")
    texts = [body.get("query"), body.get("instructions"), body.get("url")]
    texts += urls if isinstance(urls, list) else [urls]
    return " ".join(unquote(text) for text in texts if isinstance(text, str))


def _search(body: dict[str, Any]) -> dict[str, Any]:
    query = marks.without(str(body.get("query", "")))
    count = body.get("max_results", 5)
    results = [_found(query, number) for number in range(count if isinstance(count, int) else 5)]
    dear = body.get("search_depth") == "advanced"
    found: dict[str, Any] = {"query": query, "follow_up_questions": None, "answer": None}
    if body.get("include_answer"):
        found["answer"] = f"Nobody knows about {query}. {DISCLAIMER}"
    return found | {"images": [], "results": results, "usage": {"credits": 2 if dear else 1}}


def _found(query: str, number: int) -> dict[str, Any]:
    name = hashlib.sha256(f"{query} {number}".encode()).hexdigest()[:8]
    return {
        "title": f"Fictional page {number + 1} about {query}",
        "url": f"https://{SITES[number % len(SITES)]}/{name}",
        "content": f"Fictional finding {name} about {query}. {DISCLAIMER}",
        "score": round(0.99 - number * 0.04, 2),
        "raw_content": None,
    }


def _extract(body: dict[str, Any]) -> dict[str, Any]:
    asked = body.get("urls")
    urls = asked if isinstance(asked, list) else [asked]
    return {
        "results": [_page(str(url)) for url in urls],
        "failed_results": [],
        "usage": {"credits": _credits(body, len(urls))},
    }


def _crawl(body: dict[str, Any]) -> dict[str, Any]:
    pages = [_page(url) for url in _walk(body)]
    used = -(-len(pages) // 10) + _credits(body, len(pages))
    return {"base_url": str(body.get("url")), "results": pages, "usage": {"credits": used}}


def _map(body: dict[str, Any]) -> dict[str, Any]:
    urls = _walk(body)
    used = -(-len(urls) // 10)
    return {"base_url": str(body.get("url")), "results": urls, "usage": {"credits": used}}


def _walk(body: dict[str, Any]) -> list[str]:
    limit = body.get("limit", 50)
    count = min(limit if isinstance(limit, int) else 50, 3)
    url = marks.without(unquote(str(body.get("url", ""))))
    host = urlsplit(url if "://" in url else f"https://{url}").netloc
    return [f"https://{host}/made-up-{number + 1}" for number in range(count)]


def _page(url: str) -> dict[str, Any]:
    text = f"# A page that does not exist\n\nFictional text of {url}. {DISCLAIMER}"
    return {"url": url, "raw_content": text, "images": []}


def _credits(body: dict[str, Any], pages: int) -> int:
    return -(-pages // 5) * (2 if body.get("extract_depth") == "advanced" else 1)


def _padded(result: Any, size: int) -> Any:
    if isinstance(result, str):
        return result + "?" + "x" * size
    name = "raw_content" if result.get("raw_content") else "content"
    return result | {name: result[name] + " " + "padding " * (size // 8)}


_ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/search": _search,
    "/extract": _extract,
    "/crawl": _crawl,
    "/map": _map,
}
