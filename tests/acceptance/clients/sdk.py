"""Official SDKs in processes of their own, so that versions that exclude each other can coexist.

A line in: `{"action", "request", "client", "headers", "beta", "asynchronous"}`. A line out:
`{"answer"}` or `{"error": {"classes", "status", "request_id", "body", "headers"}}`, where `classes`
are the SDK's own names for what it raised.
"""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

STOP_S = 10.0
# An SDK obeys a Retry-After of hours; no wait that a test provokes is half as long as this.
ANSWER_S = 60.0


class SdkError(Exception):
    """What an SDK raised."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['classes'][0]}: {error['body']}")
        self.classes: list[str] = error["classes"]
        self.status: int | None = error["status"]
        self.request_id: str | None = error["request_id"]
        self.body: dict[str, Any] = error["body"]
        self.headers: dict[str, str] = error["headers"]

    @property
    def type(self) -> str:
        """Anthropic's word for it."""
        return str(self.body["error"]["type"])

    @property
    def message(self) -> str:
        """What a developer reads."""
        return str(self.body["error"]["message"])


class SdkProcess:
    """A program that works one SDK, started with nothing of this process's environment.

    `environment` is what makes it this SDK.
    """

    def __init__(self, command: Sequence[str], home: Path, **environment: str) -> None:
        self._command = command
        self._home = home
        self.environment = environment
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def __enter__(self) -> "SdkProcess":
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command,
            env=bare_environment(self._home) | self.environment,
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        try:
            self.version = self._read()["version"]
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it, and kill it if it does not."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # It was killed with a line unread.
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def ask(self, line: dict[str, Any]) -> Any:
        """Return the answer to one line. Raises `SdkError`; kills the program if it takes long."""
        assert self._process is not None
        assert self._process.stdin is not None
        patience = threading.Timer(ANSWER_S, self._process.kill)
        patience.start()
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
            answered = self._read()
        finally:
            patience.cancel()
        if "error" in answered:
            raise SdkError(answered["error"])
        return answered["answer"]

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self._command} ended, or was killed after {ANSWER_S:g} s"
        answered: dict[str, Any] = json.loads(line)
        return answered


@dataclass(frozen=True, slots=True)
class Sdk:
    """One version of an SDK, used in one way."""

    process: SdkProcess
    asynchronous: bool = False

    def client(
        self, base_url: str, api_key: str = "", *, auth_token: str = "", max_retries: int = 0
    ) -> "SdkClient":
        """Return a client; it retries only when told to."""
        given = {"api_key": api_key, "auth_token": auth_token}
        credential = {name: value for name, value in given.items() if value}
        return SdkClient(self, {"base_url": base_url, "max_retries": max_retries} | credential)


@dataclass(frozen=True, slots=True)
class SdkClient:
    """A client of an SDK with its settings."""

    sdk: Sdk
    settings: dict[str, Any]
    beta: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def create(self, **request: Any) -> Any:
        """Return a message, with `request_id` as the SDK shows it."""
        return self._ask("create", request)

    def events(self, **request: Any) -> Any:
        """Return all events of a stream."""
        return self._ask("events", request)

    def stream(self, **request: Any) -> Any:
        """Return the message the SDK puts together from a stream, and its `streamed_text`."""
        return self._ask("stream", request)

    def count_tokens(self, **request: Any) -> Any:
        """Return the number of input tokens."""
        return self._ask("count_tokens", request)

    def models(self, **request: Any) -> Any:
        """Return the ids of all models, of all pages."""
        return self._ask("models", request)

    def model(self, model_id: str) -> Any:
        """Return one model."""
        return self._ask("model", {"model_id": model_id})

    def _ask(self, action: str, request: dict[str, Any]) -> Any:
        return self.sdk.process.ask(
            {
                "action": action,
                "request": request,
                "client": self.settings,
                "headers": self.headers,
                "beta": self.beta,
                "asynchronous": self.sdk.asynchronous,
            }
        )


def bare_environment(home: Path) -> dict[str, str]:
    """Return what a program needs to run, and no setting of the developer's own clients."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
