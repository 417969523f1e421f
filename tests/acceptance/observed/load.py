"""Exchanges of every kind whose every part is a word of its own that nobody may keep."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.acceptance.developer import Developer, a_question

_numbers = itertools.count(1)
HAIKU = "claude-haiku-4-5"
# What the simulator is to do, beside what is asked of it: `{answer}` is a word of the answer.
STREAMED = ("say={answer}", "error after=4 message={answer}", "cut after=5", "tokens=50")
WHOLE = ("say={answer}", "status=400 message={answer}", "status=500 raw={answer}", "cut after=0")


class Words:
    """Makes words, and knows which may be in the response cache."""

    def __init__(self) -> None:
        self.private: list[str] = []
        self.cached: list[str] = []

    def new(self, what: str, *, cached: bool = False) -> str:
        """Return a word that is nowhere yet."""
        word = f"zqcanary{what}{next(_numbers):04d}zq"
        (self.cached if cached else self.private).append(word)
        return word


def a_full_question(words: Words, mark: str = "", **fields: Any) -> dict[str, Any]:
    """A conversation with a system prompt, tools, what they were called with and answered."""
    new = words.new
    used = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": new("input")}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": new("result")}
    messages = [
        {"role": "user", "content": new("prompt")},
        {"role": "assistant", "content": [{"type": "text", "text": new("earlier")}, used]},
        {"role": "user", "content": [result, {"type": "text", "text": f"{new('last')} {mark}"}]},
    ]
    schema = {"type": "object", "properties": {new("property"): {"type": "string"}}}
    tool = {"name": "read", "description": new("description"), "input_schema": schema}
    return {
        "model": HAIKU,
        "max_tokens": 200,
        "system": new("system"),
        "tools": [tool],
        "metadata": {"user_id": new("metadata")},
        "messages": messages,
    } | fields


def headers(words: Words) -> dict[str, str]:
    """Headers of a client's own."""
    return {
        "x-of-our-own": words.new("header"),
        "anthropic-beta": words.new("beta"),
        "cookie": f"session={words.new('cookie')}",
        "x-tavily-api-key": f"tvly-{words.new('tavilykey')}",
    }


def drive(developer: Developer, words: Words) -> Iterator[httpx.Response]:
    """Ask in every way there is; gives the answers."""
    path = "/v1/messages"
    for mark in WHOLE:
        said = f"[[sim:{mark.format(answer=words.new('answer'))}]]"
        query = {"beta": words.new("query")}
        question = a_full_question(words, said)
        yield developer.post(path, json=question, headers=headers(words), params=query)
    for mark in STREAMED:
        said = f"[[sim:{mark.format(answer=words.new('answer'))}]]"
        yield developer.post(
            path, json=a_full_question(words, said, stream=True), headers=headers(words)
        )
    yield _left_early(developer, words)
    yield from _refused(developer, words)
    counted = a_full_question(words)
    del counted["max_tokens"], counted["metadata"]
    yield developer.post("/v1/messages/count_tokens", json=counted, headers=headers(words))


def tools(developer: Developer, words: Words, *, cached: bool) -> Iterator[httpx.Response]:
    """Search the web in the three ways there are."""
    said = {"query": words.new("query", cached=cached)}
    prompt = f"{words.new('prompt')} [[sim:tool=web_search input='{json.dumps(said)}']]"
    asked = {"x-claudcode-tools": "web"}
    yield developer.post("/v1/messages", json=a_question(prompt), headers=asked)
    said = {"query": words.new("query", cached=cached)}
    yield developer.post("/tavily/search", json=said)
    said = {"query": words.new("query", cached=cached)}
    call = {"name": "web_search", "arguments": said}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    accepted = {"accept": "application/json, text/event-stream"}
    yield developer.post("/mcp", json=message, headers=accepted)


def _left_early(developer: Developer, words: Words) -> httpx.Response:
    question = a_full_question(words, "[[sim:rate=5]] [[sim:tokens=100]]", stream=True)
    url = f"{developer.base_url}/v1/messages"
    with developer.http.stream("POST", url, json=question, headers=developer.headers) as answer:
        next(answer.iter_bytes())
    return answer


def _refused(developer: Developer, words: Words) -> Iterator[httpx.Response]:
    path, new = "/v1/messages", words.new
    yield developer.post(path, json=a_full_question(words, model=new("model")))
    yield developer.post(path, json=a_full_question(words, max_tokens=new("maximum")))
    yield developer.post(path, content=f'{{"messages": "{new("broken")}", '.encode())
    twice = f'{{"model": "{new("one")}", "model": "{new("two")}", "messages": []}}'
    yield developer.post(path, content=twice.encode())
    yield developer.post(path, json={"messages": new("nolist"), "model": HAIKU, "max_tokens": 1})
    for name, value in (("x-api-key", new("key")), ("authorization", f"Bearer {new('bearer')}")):
        yield developer.http.post(
            developer.base_url + path, json=a_full_question(words), headers={name: value}
        )
    signing_in = {"username": new("username"), "password": new("password")}
    yield developer.http.post(f"{developer.base_url}/admin/login/", data=signing_in)
    token = {"authorization": f"Bearer {new('token')}"}
    yield developer.http.get(f"{developer.base_url}/api/v1/keys", headers=token)
    with contextlib.suppress(httpx.HTTPError):
        yield developer.http.post(
            developer.base_url + path, content=new("http").encode(), headers={"content-length": "x"}
        )
