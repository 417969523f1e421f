"""The processes of `manage.py up`, under honcho: together they start, together they end.

honcho starts each process from a child of its own, prints its lines, and stops all when one ends.
What is added here: a death of ours, even by `kill -9`, takes every one of them along (Linux).
"""

import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from honcho.manager import SIGNALS, Manager
from honcho.process import Popen, Process

from claudcode.engines.children import end_with_parent


def _stop_as_told(_signum: int, _frame: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class FollowingPopen(Popen):  # type: ignore[misc]
    """The process itself: it is killed when honcho's child is."""

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, preexec_fn=partial(end_with_parent, os.getpid()), **options)


class FollowingProcess(Process):  # type: ignore[misc]
    """honcho's child, which reads the process's output: it is killed when we are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._child_ctor = FollowingPopen
        self._parent = os.getpid()

    def run(self, *arguments: Any, **options: Any) -> None:
        end_with_parent(self._parent)
        super().run(*arguments, **options)


class Group(Manager):  # type: ignore[misc]
    """A set of processes; `on_started` is called once, when all of them have been started."""

    def __init__(self, on_started: Callable[[], None]) -> None:
        if sys.platform == "linux":
            # Python 3.14 starts children from a server process, whose death is not ours.
            multiprocessing.set_start_method("fork", force=True)
        super().__init__()
        self._process_ctor = FollowingProcess
        self._on_started = on_started

    def add(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], folder: Path
    ) -> None:
        """Add a process. `exec`: the shell that honcho starts becomes the process."""
        self.add_process(name, f"exec {shlex.join(command)}", env=dict(env), cwd=str(folder))

    @property
    def was_told_to_stop(self) -> bool:
        """Whether it was a signal that ended the group, and not one of its processes."""
        return self.returncode in {s["rc"] for s in SIGNALS.values()}

    def _start(self) -> None:
        super()._start()
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # The terminal was closed.
            signal.signal(signal.SIGHUP, _stop_as_told)
        # Threads only now: forking a process that has some can deadlock the child.
        self._on_started()
