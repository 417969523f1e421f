"""Tavily's own REST, with a key of ours: what `tavily-python` finds at `api_base_url`.

Answers and errors have Tavily's shape. A refusal by a limit is a 429 as Tavily's, so the official
client raises what it raises for Tavily itself.
"""

import asyncio

import orjson

from proxy.call import Call
from proxy.core.errors import NotFound
from proxy.core.headers import Headers
from webtools.core.calls import NAMES, BadArguments, Tool, tool_call
from webtools.runner import Caller, Ran, WebTools
from webtools.tavily import TavilyError


class TavilyRest:
    """Answers `/tavily/search`, `/tavily/extract`, `/tavily/crawl` and `/tavily/map`."""

    def __init__(self, tools: WebTools) -> None:
        self._tools = tools

    async def answer(self, call: Call, caller: Caller, name: str, body: bytes) -> None:
        """Answer one request."""
        if name not in NAMES:
            raise NotFound(f"There is no /tavily/{name[:50]} here.")
        exchange_id = call.request_id.removeprefix("req_")
        try:
            asked = tool_call(Tool(name), _arguments(body))
        except BadArguments as error:
            await _fail(call, 400, str(error))
            return
        running = asyncio.create_task(self._tools.run(caller, asked, exchange_id))
        call.watch(lambda: running.cancel())
        try:
            await asyncio.wait([running])
        finally:
            running.cancel()
        if not running.cancelled():
            await _tell(call, running)


async def _tell(call: Call, running: "asyncio.Task[Ran]") -> None:
    error = running.exception()
    if isinstance(error, TavilyError):
        headers: Headers = []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after_s))
        await _fail(call, error.status, error.message, headers)
    elif error is not None:
        raise error
    else:
        ran = running.result()
        call.verdict = ran.verdict
        call.extra_headers = [(b"x-cache", b"HIT" if ran.cached else b"MISS")]
        await call.answer(200, orjson.dumps(ran.answer))


async def _fail(call: Call, status: int, message: str, headers: Headers | None = None) -> None:
    await call.answer(status, orjson.dumps({"detail": {"error": message}}), headers)


def _arguments(body: bytes) -> dict[str, object]:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadArguments("The body is not JSON.") from None
    if not isinstance(decoded, dict):
        raise BadArguments("The body must be a JSON object.")
    return decoded
