"""One engine that a test can take away: Postgres or Valkey, in a state folder of its own."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from claudcode.engines import pair
from claudcode.engines.postgres import Postgres
from claudcode.engines.state import StateFolder
from claudcode.engines.valkey import Valkey


class Engine:
    """`with Engine("valkey") as engine:` runs it; what it has stored survives a stop."""

    def __init__(self, name: str) -> None:
        self._name = name
        # Directly under /tmp: short enough for sockets, reachable for the user Postgres runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="claudcode-engine-", dir="/tmp"))
        self._running = contextlib.ExitStack()
        self._engine: Postgres | Valkey | None = None

    def __enter__(self) -> "Engine":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.remove()

    def remove(self) -> None:
        """Remove what it has stored."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """The address; the same after every start."""
        assert self._engine is not None
        return self._engine.url

    def start(self) -> None:
        """Start it, and wait until it answers."""
        state = StateFolder(self.folder)
        lock = state.lock()
        assert lock is not None
        self._running.enter_context(lock)
        running = self._running.enter_context(
            pair.running(
                state,
                with_postgres=self._name == "postgres",
                with_valkey=self._name == "valkey",
            )
        )
        self._engine = running.postgres or running.valkey

    def stop(self) -> None:
        """Stop it; harmless if it does not run."""
        self._running.close()

    def revive(self) -> None:
        """Start it again if it has ended by itself."""
        assert self._engine is not None
        if self._engine.returncode is not None:
            self.stop()
            self.start()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stop it for as long as the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and say nothing, for as long as the block runs."""
        assert self._engine is not None
        os.kill(self._engine.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._engine.pid, signal.SIGCONT)
