"""Postgres on two hosts: a primary, and a replica that has every commit before it is confirmed.

So a promotion loses no commit; what an asynchronous replica would lose is in docs/fleet.md.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from claudcode.engines.children import EngineUser, engine_user
from claudcode.engines.pair import reachable_postgres
from claudcode.engines.state import StateFolder
from tests.chaos.programs import Program
from tests.fleet.network import Network
from tests.waiting import wait_until

PRIMARY, REPLICA = HOSTS = ("postgres1", "postgres2")
PORT = 5432
NAME = "claudcode"
STANDBY = "standby"
STREAMING_S = 60
_HBA = "local all all trust\nhost all all {net}.0/24 trust\nhost replication all {net}.0/24 trust\n"
_OPTIONS = {
    "listen_addresses": "*",
    "port": str(PORT),
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_min_messages": "fatal",
    # A primary that is cut off is found out by its replica, and the other way round.
    "wal_sender_timeout": "10s",
    "wal_receiver_timeout": "10s",
    # Locks and shared memory are the machine's; everything else of a host is its own.
    "fsync": "off",
}
# What the primary alone is told: to confirm nothing that the replica does not have.
_SYNCHRONOUS = {"synchronous_standby_names": STANDBY, "synchronous_commit": "on"}


@dataclass(slots=True)
class Postgreses:
    """Both servers; DATABASE_URL is `url`."""

    network: Network
    folder: Path
    binaries: Path
    user: EngineUser
    programs: dict[str, Program]

    @property
    def url(self) -> str:
        """Both hosts: who connects takes the one that can be written."""
        hosts = ",".join(f"{self.network.address(host)}:{PORT}" for host in HOSTS)
        return f"postgresql://{NAME}@{hosts}/{NAME}?target_session_attrs=read-write"

    def connect(self, host: str, database: str = "postgres") -> psycopg.Connection:
        """Connect to one of them."""
        address = self.network.address(host)
        words = f"host={address} port={PORT} user={NAME} dbname={database} connect_timeout=5"
        return psycopg.connect(words, autocommit=True)

    def answers(self, host: str) -> bool:
        """Return whether a server takes connections."""
        with contextlib.suppress(psycopg.OperationalError):
            self.connect(host).close()
            return True
        return False

    def promote(self) -> None:
        """Have the replica become the primary, and return when it is."""
        with self.connect(REPLICA) as connection:
            connection.execute("SELECT pg_promote(true, 60)")
        wait_until(self._promoted, STREAMING_S)

    def rows(self) -> int:
        """Return how many rows the ledger has, as the replica says."""
        with self.connect(REPLICA, NAME) as connection:
            found = connection.execute("SELECT count(*) FROM usage_ledgerentry").fetchone()
        return int(found[0]) if found else 0

    def make_primary(self) -> None:
        """Make the data, start, and make the database."""
        data = self._data(PRIMARY)
        words = ["-D", str(data), "-U", NAME, "-E", "UTF8", "-A", "trust", "--locale=C"]
        self._run("initdb", *words, "--no-instructions", "--no-sync")
        (data / "pg_hba.conf").write_text(_HBA.format(net=self.network.nets["inside"]))
        self._start(PRIMARY, _SYNCHRONOUS)
        with self.connect(PRIMARY) as connection:
            # Without the replica nothing would be confirmed yet.
            connection.execute("SET synchronous_commit TO local")
            connection.execute(f"CREATE DATABASE {NAME}")

    def make_replica(self) -> None:
        """Copy the primary, start, and return when it streams."""
        where = f"host={self.network.address(PRIMARY)} port={PORT} user={NAME}"
        source = ["-d", f"{where} application_name={STANDBY}", "-c", "fast", "--no-sync"]
        self._run("pg_basebackup", *source, "-D", str(self._data(REPLICA)), "-R")
        self._start(REPLICA, {})
        wait_until(self._streams, STREAMING_S)

    def _start(self, host: str, more: dict[str, str]) -> None:
        options = [text for pair in {**_OPTIONS, **more}.items() for text in ("-c", "=".join(pair))]
        words = [str(self.binaries / "postgres"), "-D", str(self._data(host)), *options]
        self.programs[host] = Program(
            host,
            self.network.on(host, words, self._ids),
            environment={"LC_ALL": "C"},
            log=self.folder / "logs" / f"{host}.log",
            ready=lambda: self.answers(host),
        )
        self.programs[host].start()

    def _streams(self) -> bool:
        with self.connect(PRIMARY) as connection:
            found = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
        return found == [("sync",)]

    def _promoted(self) -> bool:
        with self.connect(REPLICA) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

    def _run(self, program: str, *words: str) -> None:
        command = self.network.on(
            REPLICA if program == "pg_basebackup" else PRIMARY,
            [str(self.binaries / program), *words],
            self._ids,
        )
        done = subprocess.run(command, cwd="/", env={"LC_ALL": "C"}, capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stderr}"

    @property
    def _ids(self) -> tuple[int, int]:
        return self.user.uid, self.user.gid

    def _data(self, host: str) -> Path:
        return self.folder / "postgres" / host


@contextlib.contextmanager
def postgreses(network: Network, folder: Path) -> Iterator[Postgreses]:
    """Run both for as long as the block."""
    home = folder / "postgres"
    user = engine_user(home)
    state = StateFolder(folder)
    found = reachable_postgres(state, user, "")
    made = Postgreses(network, folder, found.folder, user, {})
    shutil.chown(home, user.uid, user.gid)
    try:
        for host in HOSTS:
            network.add(host)
        made.make_primary()
        made.make_replica()
        yield made
    finally:
        for program in made.programs.values():
            program.end()
