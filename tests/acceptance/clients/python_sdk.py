"""Works the official Python SDK, whichever version is on the path, as told by JSON lines.

A program, not a part of the tests: `sdk.SdkProcess` starts it and says what its lines hold.
"""

import asyncio
import contextlib
import inspect
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic

# Of one try; longer than any wait that a test provokes.
SECONDS_MAX = 30.0


class Worker:
    """One client, synchronous or not, and what it can be asked to do."""

    def __init__(self, client: Any, *, beta: bool) -> None:
        self._client = client
        self._messages = client.beta.messages if beta else client.messages

    async def create(self, **request: Any) -> Any:
        message = await now(self._messages.create(**request))
        return message.model_dump(mode="json") | {"request_id": message._request_id}

    async def events(self, **request: Any) -> Any:
        stream = await now(self._messages.create(**request, stream=True))
        return [event.model_dump(mode="json") async for event in each(stream)]

    async def stream(self, **request: Any) -> Any:
        async with entered(self._messages.stream(**request)) as stream:
            text = "".join([text async for text in each(stream.text_stream)])
            message = await now(stream.get_final_message())
        return message.model_dump(mode="json") | {"streamed_text": text}

    async def count_tokens(self, **request: Any) -> Any:
        return (await now(self._messages.count_tokens(**request))).input_tokens

    async def models(self, **request: Any) -> Any:
        return [model.id async for model in each(self._client.models.list(**request))]

    async def model(self, model_id: str) -> Any:
        return (await now(self._client.models.retrieve(model_id))).model_dump(mode="json")


async def now(value: Any) -> Any:
    """Return the value, waiting for it if the client is asynchronous."""
    return await value if inspect.isawaitable(value) else value


async def each(values: Any) -> AsyncIterator[Any]:
    """Go through the values of either kind of client."""
    if hasattr(values, "__aiter__"):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


@contextlib.asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enter a context of either kind of client."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def answer(asked: dict[str, Any], connections: dict[bool, Any]) -> dict[str, Any]:
    """Do one thing; return what came of it."""
    asynchronous = asked["asynchronous"]
    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    client = kind(
        http_client=connections[asynchronous],
        default_headers=asked["headers"],
        timeout=SECONDS_MAX,
        **asked["client"],
    )
    worker = Worker(client, beta=asked["beta"])
    action: Callable[..., Awaitable[Any]] = getattr(worker, asked["action"])
    try:
        return {"answer": await action(**asked["request"])}
    except anthropic.APIError as error:
        return {"error": described(error)}


def described(error: anthropic.APIError) -> dict[str, Any]:
    return {
        "classes": [kind.__name__ for kind in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "body": error.body,
        "headers": dict(error.response.headers) if hasattr(error, "response") else {},
    }


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say({"version": anthropic.__version__})
    # Shared, because each reads all certificates of the system anew.
    connections = {
        False: anthropic.DefaultHttpxClient(),
        True: anthropic.DefaultAsyncHttpxClient(),
    }
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            say(runner.run(answer(json.loads(line), connections)))
