"""Child processes that never outlive us, and the user they run as. Knows nothing of any engine.

Postgres refuses to run as root. So root's engines run as the owner of their data, if that is
someone else, or as `postgres` or `nobody`; everybody else's run as themselves.
"""

import abc
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
# Loaded here: between fork and exec it is too late to load anything.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
LOG_BYTES_MAX = 5 * 1024 * 1024
SERVICE_USERS = ("postgres", "nobody")


class EngineError(Exception):
    """An embedded engine cannot run here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class EngineUser:
    """Who the engines run as. `drops` says that we are root and must change to them."""

    uid: int
    gid: int
    name: str
    drops: bool

    def popen_arguments(self) -> dict[str, object]:
        """Return the arguments that make `subprocess` run a child as this user."""
        if not self.drops:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give `path` and all below it to this user. Does nothing unless we are root."""
        if not self.drops:
            return
        shutil.chown(path, self.uid, self.gid)
        for below in path.rglob("*"):
            os.chown(below, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, path: Path) -> bool:
        """Return whether this user can pass every folder above `path`, and enter or run it."""
        if not self.drops:
            return True
        probe = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
        return subprocess.run(probe, cwd="/", check=False, **self.popen_arguments()).returncode == 0  # type: ignore[call-overload, no-any-return]


def engine_user(data: Path) -> EngineUser:
    """Return the user for engines whose data is, or will be, in `data`.

    Raises `EngineError` when there is no such user: Postgres wants one that has a name.
    """
    try:
        if os.geteuid() != 0:
            me = pwd.getpwuid(os.geteuid())
            return EngineUser(me.pw_uid, me.pw_gid, me.pw_name, drops=False)
        if data.exists() and data.stat().st_uid != 0:
            owner = pwd.getpwuid(data.stat().st_uid)
            return EngineUser(owner.pw_uid, owner.pw_gid, owner.pw_name, drops=True)
    except KeyError as error:
        raise EngineError(
            f"The embedded Postgres needs a user with a name: {error.args[0]}."
            " Add one to /etc/passwd, or set DATABASE_URL and VALKEY_URL."
        ) from error
    for name in SERVICE_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return EngineUser(user.pw_uid, user.pw_gid, user.pw_name, drops=True)
    raise EngineError(
        "Postgres does not run as root, and there is neither a user 'postgres' nor 'nobody'"
        " to run it as. Run this as an ordinary user, or set DATABASE_URL and VALKEY_URL."
    )


def end_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Ask the kernel to send us `signum` when our parent dies. Does nothing but on Linux.

    `parent` is its process id. If it is dead already, nobody would send anything: we end at once.
    """
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:
            os._exit(1)


def spawn(
    command: Sequence[str | Path],
    *,
    user: EngineUser,
    log: IO[bytes],
    death_signal: int,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` as `user` in a session of its own, so that Ctrl-C is ours to pass on.

    The child gets `death_signal` when we die, even by `kill -9` (Linux). `keep_open` are file
    descriptors it inherits.
    """
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=environment,
        pass_fds=tuple(keep_open),
        start_new_session=True,
        # It runs after the change of user, which would clear it.
        preexec_fn=partial(end_with_parent, os.getpid(), death_signal),
        **user.popen_arguments(),
    )


def stop(child: subprocess.Popen[bytes], signals: Sequence[tuple[int, float]]) -> None:
    """Send each signal in turn and wait its seconds, until the child is gone; then kill it."""
    for signum, seconds in signals:
        if child.poll() is not None:
            return
        child.send_signal(signum)
        try:
            child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    child.wait()


class Server(abc.ABC):
    """An engine's process: a subclass starts it, as `_child`, and says when it answers."""

    def __init__(self, stop_signals: Sequence[tuple[int, float]]) -> None:
        self._stop_signals = stop_signals
        self._child: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def answers(self) -> bool:
        """Return whether it takes commands just now."""

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self._child is not None
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """`None` while it runs."""
        return None if self._child is None else self._child.poll()

    def stop(self) -> None:
        """Stop it if it runs."""
        if self._child is not None:
            stop(self._child, self._stop_signals)

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until it answers or has ended; stop it if it does neither within `seconds`."""
        ready = wait_until(lambda: self.returncode is not None or self.answers(), seconds)
        if not ready:
            self.stop()
        return ready


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Poll `ready` for at most `seconds`; return its last answer."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown past LOG_BYTES_MAX becomes `.1` first."""
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.rename(path.with_suffix(".log.1"))
    log = path.open("ab")
    path.chmod(0o600)
    return log


def log_tail(path: Path, since: int) -> str:
    """Return the last lines that were written after the first `since` bytes."""
    with path.open("rb") as log:
        log.seek(since)
        return "\n".join(log.read().decode(errors="replace").splitlines()[-5:])
