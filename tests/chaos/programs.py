"""Processes that can be killed, stopped, frozen and started again, as a process manager would.

Knows no gateway. Everything is started from the main thread: an engine dies with the thread that
started it.
"""

import os
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from claudcode.engines import postgres
from claudcode.engines.postgres import Postgres
from claudcode.engines.valkey import Valkey
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
# Two cores may be busy with much else.
START_S = 60.0
STOP_S = 60.0


class Program:
    """One of our programs, logging to a file. `ready` is asked until it says yes."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        ready: Callable[[], bool] = lambda: True,
        start_s: float = START_S,
    ) -> None:
        self.name = name
        self._start_s = start_s
        self._words = list(words)
        self._environment = dict(environment)
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._shall_run = False
        self.ended_by_itself = 0

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it and do not wait."""
        with self._lock:
            self._launch()

    def revive(self) -> None:
        """Start it again if it has ended by itself, as a process manager does."""
        with self._lock:
            if self._shall_run and not self.runs:
                self.ended_by_itself += 1
                self._launch()

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        self._shall_run = True

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it is ready; fail when it has ended instead."""
        wait_until(self._ready_or_ended, self._start_s)
        assert self.runs, f"{self.name} did not start:\n{self.log_tail()}"

    @property
    def runs(self) -> bool:
        """Whether it has not ended, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Make sure it is gone."""
        if self._process is not None:
            self.kill()

    def _signal(self, signum: int) -> int:
        with self._lock:
            assert self._process is not None
            self._shall_run = False
            self._process.send_signal(signum)
            return self._process.wait(STOP_S)

    def freeze(self) -> None:
        """`kill -STOP`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """`kill -CONT`."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def log_lines(self, *levels: str) -> list[str]:
        """Return the JSON lines of these levels."""
        marks = [f'"level": "{level}"' for level in levels]
        marks += [f'"level":"{level}"' for level in levels]
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(mark in line for mark in marks)]

    def _ready_or_ended(self) -> bool:
        return not self.runs or self._ready()


class Engine:
    """Postgres or Valkey of the embedded pair, running; its data outlives it."""

    def __init__(self, name: str, server: Postgres | Valkey, data: Path) -> None:
        self.name = name
        self._server = server
        self._data = data
        # As it was found at the first start, which may have been a copy.
        self._program = Path(os.readlink(f"/proc/{server.pid}/exe"))

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        return self._server.pid

    def kill(self) -> None:
        """`kill -9`."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: self._server.returncode is not None)

    def start(self) -> None:
        """Start it on the data it left, and wait until it answers."""
        if isinstance(self._server, Valkey):
            self._server.start(self._program)
        else:
            self._server.start(postgres.binaries(str(self._program.parent), self._data))

    def freeze(self) -> None:
        """`kill -STOP`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """`kill -CONT`."""
        os.kill(self.pid, signal.SIGCONT)


def answers(url: str | urllib.request.Request) -> bool:
    """Return whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
