"""Child processes of a run: on which cores they run, where they write, and their end."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claudcode import env
from claudcode.engines.children import end_with_parent

READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
LOG_BYTES_SHOWN = 2000


class NotReady(Exception):
    """A process of the run did not start; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: the gateway alone on one core, everything else on the others."""

    gateway: frozenset[int]
    others: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether there is one core only, so that nothing is apart."""
        return self.gateway == self.others


def choose_cores(available: Sequence[int]) -> Cores:
    """Give the gateway the first of the cores and everybody else the rest."""
    first, *rest = sorted(available)
    return Cores(frozenset({first}), frozenset(rest or {first}))


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    cores: frozenset[int],
    log: Path,
    settings: Mapping[str, str] | None = None,
    heard: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on `cores` for as long as the block runs; it dies with us, however we die.

    What it prints goes to `log`, and when it is to be `heard` to its `stdout` instead. `settings`
    are environment variables on top of ours.
    """

    parent = os.getpid()

    def prepare() -> None:
        end_with_parent(parent)
        os.sched_setaffinity(0, cores)

    with log.open("ab") as errors:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=env.ROOT,
            env=env.inherited() | dict(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if heard else errors,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is ours to pass on.
            preexec_fn=prepare,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then kill it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def first_line(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the first line the process prints. Raises `NotReady` when it ends before."""
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    if not line:
        raise NotReady(tail(log))
    return line


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `url` answers at all. Raises `NotReady`."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError as answered:
            answered.close()
            return
        except OSError:
            time.sleep(0.05)
    raise NotReady(tail(log))


def tail(log: Path) -> str:
    """Return the end of a log."""
    return f"{log}:\n{log.read_bytes()[-LOG_BYTES_SHOWN:].decode(errors='replace')}"


def allow_many_files() -> int:
    """Let this process, and those it starts from now on, open what they may; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
