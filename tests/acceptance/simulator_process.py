"""A simulator in a process of its own, for tests that need an upstream. Knows no gateway."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
STOP_S = 10
WAIT_S = 10


class SimulatorProcess:
    """Starts `python -m simulator` on a free port, and stops that process and no other.

    `with SimulatorProcess("--first-byte-ms", "5") as simulator:` gives a `url`, and the books.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> "SimulatorProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "simulator", "--port", "0", *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("simulator listening on "):
            self.stop()
            raise RuntimeError(f"the simulator did not start: {line!r}")
        self.url = line.split()[-1]

    def stop(self) -> None:
        """Stop it, and kill it if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @property
    def pid(self) -> int:
        """The process id, to measure or to kill it."""
        assert self._process is not None
        return self._process.pid

    def books(self, since: int = 0) -> dict[str, Any]:
        """Return one page of the books."""
        with urllib.request.urlopen(f"{self.url}/__simulator/books?since={since}") as answer:
            page: dict[str, Any] = json.load(answer)
        return page

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries of requests that have ended."""
        found: list[dict[str, Any]] = []
        page = self.books()
        while page["entries"]:
            found += page["entries"]
            page = self.books(page["next"])
        return found

    def wait_for_entry(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first entry that is `wanted`; it may have to end first."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for entry in self.entries():
                if wanted(entry):
                    return entry
            time.sleep(0.01)
        raise AssertionError("no such entry in the simulator's books")

    def reset(self) -> None:
        """Empty the books, the prompt cache and the counters of marks."""
        request = urllib.request.Request(f"{self.url}/__simulator/reset", method="POST")
        urllib.request.urlopen(request).close()
