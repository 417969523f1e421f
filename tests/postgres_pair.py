"""Postgres with a replica, and PgBouncer, on this machine, for tests that break them."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from claudcode.engines import postgres
from claudcode.engines.children import EngineUser, engine_user, spawn, stop
from tests.acceptance.gateway_process import free_port
from tests.waiting import wait_until

NAME = "claudcode"
START_S = 60
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
    # Not UTC: what a session is told of time zones must not get lost on the way.
    "timezone": "Asia/Tokyo",
    "fsync": "off",
    "hot_standby_feedback": "on",
}
_HBA = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
_STOP = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 5.0))


class PostgresServer:
    """One Postgres process and its data."""

    def __init__(self, folder: Path, name: str, user: EngineUser) -> None:
        self.port = free_port()
        self.data = folder / name
        self._user = user
        self._binaries = postgres.binaries("", self.data).folder
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make empty data, as a superuser whom everybody on this machine may be."""
        words = ["-D", self.data, "-U", NAME, "-E", "UTF8", "-A", "trust", "--locale=C"]
        self._run("initdb", *words, "--no-instructions", "--no-sync")
        (self.data / "pg_hba.conf").write_text(_HBA)

    def copy(self, primary: "PostgresServer") -> None:
        """Make the data of a replica of `primary`."""
        where = f"host=127.0.0.1 port={primary.port} user={NAME} application_name=replica"
        self._run("pg_basebackup", "-d", where, "-D", self.data, "-R", "-c", "fast", "--no-sync")

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = _OPTIONS | {"port": str(self.port)}
        words = [text for pair in options.items() for text in ("-c", "=".join(pair))]
        with self.data.with_suffix(".log").open("ab") as log:
            self._process = spawn(
                [self._binaries / "postgres", "-D", self.data, *words],
                user=self._user,
                log=log,
                death_signal=signal.SIGQUIT,
            )
        wait_until(self.answers, START_S)

    def refuse_writes(self) -> None:
        """Take no more writes, and keep every connection, as a primary that is being replaced."""
        self.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        self.ask("SELECT pg_reload_conf()")
        wait_until(lambda: self.ask("SHOW default_transaction_read_only") == "on", START_S)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            stop(self._process, _STOP)

    def kill(self) -> None:
        """End it as a machine that loses its power."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(20)

    def answers(self) -> bool:
        """Return whether it takes connections."""
        with contextlib.suppress(psycopg.OperationalError):
            self.ask("SELECT 1")
            return True
        return False

    def ask(self, statement: str, database: str = "postgres") -> Any:
        """Return the first value that a statement gives, if it gives rows."""
        words = f"host=127.0.0.1 port={self.port} user={NAME} dbname={database} connect_timeout=5"
        with psycopg.connect(words, autocommit=True) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def _run(self, program: str, *words: str | Path) -> None:
        command = [self._binaries / program, *words]
        done = subprocess.run(  # type: ignore[call-overload]
            command, cwd="/", capture_output=True, text=True, **self._user.popen_arguments()
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


class Pair:
    """A primary and its replica."""

    def __init__(self, folder: Path, user: EngineUser) -> None:
        self.primary = PostgresServer(folder, "primary", user)
        self.replica = PostgresServer(folder, "replica", user)

    def start(self) -> None:
        """Start the primary, copy it, and wait until the replica streams."""
        self.primary.make()
        self.primary.start()
        self.primary.ask(f"CREATE DATABASE {NAME}")
        self._replicate()

    def url(self, *servers: PostgresServer, **parameters: str) -> str:
        """Return the URL of one server or several."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        words = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{NAME}@{hosts}/{NAME}?{words}"

    def wait_for_replica(self) -> None:
        """Return when the replica has whatever the primary has now."""
        now = self.primary.ask("SELECT pg_current_wal_lsn()")
        caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{now}'"
        wait_until(lambda: self.replica.ask(caught_up), START_S)

    def fail_over(self) -> None:
        """Promote the replica: it is the primary now, and the other one is nothing yet."""
        assert self.replica.ask("SELECT pg_promote(true, 60)")
        self.primary, self.replica = self.replica, self.primary

    def copy_again(self) -> None:
        """Make the replica anew, out of the primary."""
        self.replica.stop()
        shutil.rmtree(self.replica.data)
        self._replicate()

    def stop(self) -> None:
        """End both."""
        self.replica.stop()
        self.primary.stop()

    def _replicate(self) -> None:
        self.replica.copy(self.primary)
        self.replica.start()
        wait_until(lambda: self.primary.ask("SELECT count(*) FROM pg_stat_replication"), START_S)


@contextlib.contextmanager
def a_pair() -> Iterator[Pair]:
    """Run both for as long as the block."""
    # Directly under /tmp: the user whom Postgres runs as must reach it.
    folder = Path(tempfile.mkdtemp(prefix="claudcode-pair-", dir="/tmp"))
    user = engine_user(folder / "primary")
    user.own(folder)
    pair = Pair(folder, user)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(folder, ignore_errors=True)


def pgbouncer_program() -> str | None:
    """Return where PgBouncer is, if anywhere."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def a_pooler(server: PostgresServer, *, sessions: int, database: str = NAME) -> Iterator[str]:
    """Run PgBouncer in transaction mode before `server`, with `sessions` for all; yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="claudcode-pooler-", dir="/tmp"))
    user, port = engine_user(folder / "none"), free_port()
    (folder / "users").write_text(f'"{NAME}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host=127.0.0.1 port={server.port} user={NAME}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
# Idle sessions are taken in turn: whatever one leaves behind, another client meets.
server_round_robin = 1
"""
    )
    user.own(folder)
    program = pgbouncer_program()
    assert program is not None
    with (folder / "log").open("wb") as log:
        words = [program, str(folder / "pgbouncer.ini")]
        process = spawn(words, user=user, log=log, death_signal=signal.SIGKILL)
    url = f"postgresql://{NAME}@127.0.0.1:{port}/{database}"
    try:
        wait_until(lambda: _connects(url) or process.poll() is not None, START_S)
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        stop(process, ((signal.SIGINT, 5.0),))
        shutil.rmtree(folder, ignore_errors=True)


def _connects(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False
