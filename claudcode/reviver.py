"""Keeps one program running: `python -m claudcode.reviver -- PROGRAM ARGUMENT ...`.

For programs whose end must not end everything else: Celery's worker ends by itself now and then
when Valkey is killed under it. Knows neither Django nor Celery. Told to stop (SIGTERM, SIGINT), it
tells the program, once, waits for it, and ends with its exit code; killed, it takes the program
along (Linux).
"""

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from types import FrameType

from claudcode.engines.children import end_with_parent
from claudcode.logging import JsonFormatter

PAUSE_FIRST_S = 1.0
# A program that cannot start costs a second of CPU each time; one that can is wanted soon.
PAUSE_MOST_S = 30.0
# Whoever ran this long had started well: what ended it is another story.
RAN_WELL_S = 60.0

logger = logging.getLogger(__name__)


class Reviver:
    """One program, started again after each end until `stop` is called."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._told: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return the exit code of the program's last run, once `stop` was called."""
        pauses_s = _pauses_s()
        while True:
            began_s = time.monotonic()
            code = self._run_once()
            if self._stopping:
                return code
            if time.monotonic() - began_s > RAN_WELL_S:
                pauses_s = _pauses_s()
            pause_s = next(pauses_s)
            logger.error("%s ended with %d; it is started again in %g s", self._name, code, pause_s)
            if self._told_within(pause_s):
                return code

    def stop(self, _signum: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """Let the program end for good. May be called from a signal handler."""
        self._stopping = True
        # Once: at a second time Celery leaves what it is at.
        if self._child is not None and self._told is not self._child:
            self._told = self._child
            self._child.terminate()

    def _run_once(self) -> int:
        # In a session of its own, so that a signal to our group reaches it through us alone.
        self._child = subprocess.Popen(
            self._words,
            preexec_fn=partial(end_with_parent, os.getpid()),
            start_new_session=True,
        )
        if self._stopping:  # The signal came while it was being started.
            self.stop()
        code = self._child.wait()
        self._child = None
        return code

    def _told_within(self, seconds: float) -> bool:
        until_s = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until_s:
            time.sleep(0.1)
        return self._stopping

    @property
    def _name(self) -> str:
        return shlex.join(self._words)


def main() -> int:
    """Run what the command line says."""
    words = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    reviver = Reviver(words)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, reviver.stop)
    return reviver.run()


def _pauses_s() -> Iterator[float]:
    pause_s = PAUSE_FIRST_S
    while True:
        yield pause_s
        pause_s = min(PAUSE_MOST_S, 2 * pause_s)


if __name__ == "__main__":
    sys.exit(main())
