"""Valkey Cluster and Sentinel out of processes on this machine, for tests that break them."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis
from redis.crc import key_slot

from claudcode.engines.valkey import binary
from tests.valkey_encryption import Encryption
from tests.waiting import wait_until

SLOTS = 16_384
# A node that is silent for so long is replaced. Longer than this machine is ever busy, one hopes.
NODE_TIMEOUT_MS = 2_000
START_S = 40


class Server:
    """One Valkey process. With `encryption` it speaks nothing but TLS."""

    def __init__(
        self,
        folder: Path,
        name: str,
        options: dict[str, object],
        *first: object,
        encryption: Encryption | None = None,
    ) -> None:
        self.port = free_port()
        self._binary = encryption.binary if encryption else binary()
        self._first = first
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "save": "",
            "appendonly": "no",
            # As of many disks: a full synchronisation must not wait for others to join.
            "repl-diskless-sync-delay": 0,
            **(encryption.of_server(self.port) if encryption else {}),
            **options,
        }
        trust = encryption.of_client() if encryption else {}
        self.client = redis.Redis(port=self.port, socket_timeout=5, **trust)
        self.start()

    def start(self) -> None:
        """Start the process; it has lost its keys."""
        given = [
            text for name, value in self._options.items() for text in (f"--{name}", str(value))
        ]
        with (self._folder / "log").open("ab") as log:
            command = [str(word) for word in (self._binary, *self._first, *given)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, START_S)

    def kill(self) -> None:
        """End the process without a word."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let the process stand still, its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process and close our connection."""
        self.client.close()
        self.kill()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False


class Cluster:
    """Three primaries with a replica each; slots in three equal parts."""

    def __init__(self, folder: Path, encryption: Encryption | None = None) -> None:
        self._scheme = "rediss+cluster" if encryption else "redis+cluster"
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": 0,
            "maxmemory": "256mb",
            "maxmemory-policy": "volatile-lfu",
        }
        self._ports = []
        self.servers = []
        for number in range(6):
            bus = free_port()
            own = options | {"cluster-port": bus}
            self.servers.append(Server(folder, str(number), own, encryption=encryption))
            self._ports.append((self.servers[-1].port, bus))
        try:
            self._join()
        except BaseException:
            self.stop()
            raise

    def _join(self) -> None:
        first = self.servers[0]
        for number, server in enumerate(self.servers[:3]):
            server.client.execute_command(
                "CLUSTER", "ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            )
            server.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for port, bus in self._ports[1:]:
            first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        for server in self.servers:
            wait_until(lambda server=server: len(server.client.cluster("nodes")) == 6, START_S)
        for replica, primary in zip(self.servers[3:], self.servers[:3], strict=True):
            primary_id = primary.client.execute_command("CLUSTER", "MYID").decode()
            replica.client.execute_command("CLUSTER", "REPLICATE", primary_id)
        wait_until(self.settled, START_S)

    def settled(self) -> bool:
        """Whether every primary has a replica that has caught up, and everybody knows of it."""
        return all(self._ok(server) for server in self.servers if server.alive)

    def _ok(self, server: Server) -> bool:
        state = server.client.cluster("info")
        if state["cluster_state"] != "ok" or state["cluster_slots_ok"] != str(SLOTS):
            return False
        # What others know comes by gossip, later; a row is a range, its primary, its replicas.
        if any(len(row) < 4 for row in server.client.execute_command("CLUSTER", "SLOTS")):
            return False
        role = server.client.info("replication")
        if role["role"] == "slave":
            return role["master_link_status"] == "up"
        return role["connected_slaves"] >= 1 or not self._has_slots(server)

    def _has_slots(self, server: Server) -> bool:
        nodes = server.client.cluster("nodes")
        return any("myself" in node["flags"] and node["slots"] for node in nodes.values())

    @property
    def url(self) -> str:
        return f"{self._scheme}://" + ",".join(f"127.0.0.1:{s.port}" for s in self.servers[:3])

    def primary_of(self, key: str) -> Server:
        """The server that has the slot of `key`, as another that lives says."""
        slot = key_slot(key.encode())
        witness = next(s for s in self.servers if s.alive)
        for row in witness.client.execute_command("CLUSTER", "SLOTS"):
            if row[0] <= slot <= row[1]:
                return self.at(row[2][1])
        raise AssertionError(f"nobody has slot {slot}")

    def replica_of(self, primary: Server) -> Server:
        """A replica of `primary`."""
        witness = next(s for s in self.servers if s.alive)
        for row in witness.client.execute_command("CLUSTER", "SLOTS"):
            if row[2][1] == primary.port and len(row) > 3:
                return self.at(row[3][1])
        raise AssertionError(f"{primary.port} has no replica")

    def at(self, port: int) -> Server:
        """The server of a port."""
        return next(server for server in self.servers if server.port == port)

    def primaries(self) -> list[Server]:
        """The servers that have slots."""
        rows = next(s for s in self.servers if s.alive).client.execute_command("CLUSTER", "SLOTS")
        return [self.at(port) for port in sorted({row[2][1] for row in rows})]

    def heal(self) -> None:
        """Have every server alive, and wait until the cluster has settled."""
        for server in self.servers:
            if server.alive:
                server.thaw()
            else:
                server.start()
        wait_until(self.settled, START_S)

    def flush(self) -> None:
        """Remove every key."""
        for server in self.primaries():
            server.client.flushall()

    def stop(self) -> None:
        """End all processes."""
        for server in self.servers:
            server.stop()


@contextlib.contextmanager
def a_cluster(folder: Path, encryption: Encryption | None = None) -> Iterator[Cluster]:
    """Run a cluster for as long as the block runs."""
    cluster = Cluster(folder, encryption)
    try:
        yield cluster
    finally:
        cluster.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def shards_of(server: Server, tags: Sequence[str]) -> list[str]:
    """Return those of `tags` whose slot the server has."""
    rows = server.client.execute_command("CLUSTER", "SLOTS")
    mine = [(row[0], row[1]) for row in rows if row[2][1] == server.port]
    return [t for t in tags if any(a <= key_slot(t.encode()) <= b for a, b in mine)]
