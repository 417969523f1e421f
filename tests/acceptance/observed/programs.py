"""Celery's worker and beat as `manage.py up` starts them, for tests that watch all processes."""

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.acceptance.gateway_process import ROOT

STOP_S = 15.0
QUIET = "--without-gossip --without-mingle --without-heartbeat"


@contextlib.contextmanager
def celery(folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Run both while the block runs; gives the files of what they print."""
    words = {
        "worker": f"worker --pool threads --concurrency 2 {QUIET}",
        "beat": f"beat --schedule {folder}/schedule --pidfile=",
    }
    logs = {name: folder / f"{name}.log" for name in words}
    with contextlib.ExitStack() as running:
        for name, said in words.items():
            log = running.enter_context(logs[name].open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", *shlex.split(f"celery -A claudcode -q {said}")],
                cwd=ROOT,
                env=dict(environment),
                stdout=log,
                stderr=log,
            )
            running.callback(_stop, process)
        yield logs


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
