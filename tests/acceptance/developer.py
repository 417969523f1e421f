"""A developer with an API key: asks the gateway over HTTP, and knows nothing of it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from keys.core.secret import Secret
from keys.models import ApiKey

# Longer than any wait that a test provokes.
PATIENCE_S = 30.0

_numbers = itertools.count(1)


class Developer:
    """One key and one base URL. `apikey` is the key's row, for those who change it."""

    def __init__(self, http: httpx.Client, base_url: str, apikey: ApiKey, secret: Secret) -> None:
        self.http = http
        self.base_url = base_url
        self.apikey = apikey
        self.secret = secret.text

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates this developer."""
        return {"x-api-key": self.secret}

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request with the key."""
        options["headers"] = self.headers | options.get("headers", {})
        return self.http.request(method, self.base_url + path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return self.send("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return self.send("POST", path, **options)

    def ask(self, prompt: str = "Hello!", **fields: Any) -> httpx.Response:
        """Ask for a message and return the whole answer."""
        return self.post("/v1/messages", json=a_question(prompt, **fields))

    @contextmanager
    def listen(self, prompt: str = "Hello!", **fields: Any) -> Iterator[httpx.Response]:
        """Ask for a stream; leaving the block hangs up."""
        question = a_question(prompt, **{"stream": True} | fields)
        url = f"{self.base_url}/v1/messages"
        with self.http.stream("POST", url, json=question, headers=self.headers) as answer:
            yield answer

    def status(self) -> dict[str, Any]:
        """Return the key's status."""
        answer = self.get("/v1/key-status")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status


def a_question(prompt: str = "Hello!", **fields: Any) -> dict[str, Any]:
    """A valid body of `POST /v1/messages`."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": "claude-haiku-4-5", "max_tokens": 1000, "messages": messages} | fields


def a_name() -> str:
    """A word that no other request has, to find it again in somebody's books."""
    return f"exchange-{next(_numbers)}"


def events(answer: httpx.Response) -> list[str]:
    """Return the names of the server-sent events of an answer, in order."""
    lines = answer.text.splitlines()
    return [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
