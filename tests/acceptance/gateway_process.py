"""A gateway in processes of its own, for tests that speak HTTP to it. Knows no test."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.acceptance.installation import Installation

ROOT = Path(__file__).parents[2]
# The first start compiles every module, on a machine that does other things too.
START_S = 120.0
STOP_S = 10.0
# What the gateway sends upstream as its own; no client may ever see it.
UPSTREAM_CREDENTIAL = "upstream-credential-of-the-gateway"


class GatewayProcess:
    """Starts `python -m claudcode.server`, and stops that process and no other.

    `with GatewayProcess(installation, upstream_url, PING_AFTER_S="1") as gateway:` gives a `url`.
    Named settings are passed as `CLAUDCODE_<NAME>`; `root` is where the code is.
    """

    def __init__(
        self,
        installation: Installation,
        upstream_url: str,
        *,
        workers: int = 1,
        root: Path = ROOT,
        **settings: str,
    ) -> None:
        self._root = root
        self._environment = _environment(installation, upstream_url, settings)
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        # Not a pipe: nobody reads while a test runs, and a full pipe would stop the gateway.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.port = 0

    def __enter__(self) -> "GatewayProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base URL, without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id; with one worker it is that worker's."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves (one worker at least)."""
        self.port = free_port()
        command = [sys.executable, "-m", "claudcode.server", "--shutdown", "2"]
        command += ["--port", str(self.port), "--workers", str(self._workers)]
        self._process = subprocess.Popen(
            command, cwd=self._root, env=self._environment, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + START_S
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.log()
                self.close()
                raise RuntimeError(f"the gateway did not start:\n{log}")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop it for good and drop its log."""
        self.stop()
        self._log.close()

    def stop(self) -> None:
        """Stop it, and kill it if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            for worker in _children(process.pid):
                os.kill(worker, signal.SIGKILL)
            process.kill()
            process.wait()

    def log(self) -> str:
        """Everything it has logged so far."""
        return os.pread(self._log.fileno(), 2**31 - 1, 0).decode(errors="replace")

    def memory_bytes(self) -> int:
        """Resident memory of its one worker (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def worker_serving(self, client_port: int) -> int | None:
        """Return which worker holds the connection from `client_port`, `None` while none does.

        Linux, and more than one worker.
        """
        held = f"socket:[{_inode(self.port, client_port)}]"
        for worker in _children(self.pid):
            links = (os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir())
            if held in links:
                return worker
        return None

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=START_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _environment(
    installation: Installation, upstream_url: str, settings: Mapping[str, str]
) -> dict[str, str]:
    return (
        os.environ
        | {
            "DATABASE_URL": installation.database_url,
            "VALKEY_URL": installation.valkey_url,
            "ANTHROPIC_BASE_URL": upstream_url,
            "ANTHROPIC_API_KEY": UPSTREAM_CREDENTIAL,
            "PYTHONUNBUFFERED": "1",
        }
        | {f"CLAUDCODE_{name}": value for name, value in settings.items()}
    )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _inode(local_port: int, remote_port: int) -> int:
    ports = (f"{local_port:04X}", f"{remote_port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _number, local, remote, *rest = line.split()
        if (local.rpartition(":")[2], remote.rpartition(":")[2]) == ports:
            return int(rest[6])
    return 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
