"""Valkey on hosts of its own: three primaries with a replica each, or one server alone."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from claudcode.engines.valkey import binary
from tests.chaos.programs import Program
from tests.fleet.network import Network
from tests.waiting import wait_until

PORT = 6379
SLOTS = 16_384
PRIMARIES = 3
# A node that nobody hears for so long is replaced, and one that hears nobody for so long refuses.
NODE_TIMEOUT_MS = 3_000
SETTLED_S = 90
_OPTIONS = {
    "port": PORT,
    "bind": "0.0.0.0",
    "protected-mode": "no",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory": "256mb",
    "maxmemory-policy": "volatile-lfu",
    "repl-diskless-sync-delay": 0,
}
_CLUSTERED = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": NODE_TIMEOUT_MS,
    "cluster-require-full-coverage": "no",
    "cluster-allow-replica-migration": "no",
}


@dataclass(slots=True)
class Valkeys:
    """The servers, by host. `clustered`: as a Valkey Cluster; else it is one alone."""

    network: Network
    clustered: bool
    programs: Mapping[str, Program]
    _clients: dict[str, "redis.Redis"] = field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        """All hosts."""
        return list(self.programs)

    @property
    def url(self) -> str:
        """What VALKEY_URL is."""
        if not self.clustered:
            return f"redis://{self.network.address(self.hosts[0])}:{PORT}/0"
        nodes = [f"{self.network.address(host)}:{PORT}" for host in self.hosts]
        return f"redis+cluster://{','.join(nodes)}/"

    def at(self, host: str) -> "redis.Redis":
        """Return a client of one server alone, whose connections are made where we are."""
        if host not in self._clients:
            address = self.network.address(host)
            self._clients[host] = redis.Redis(host=address, port=PORT, socket_timeout=5)
        return self._clients[host]

    def answers(self, host: str) -> bool:
        """Return whether a server has loaded its data."""
        with contextlib.suppress(redis.RedisError):
            return bool(self.at(host).ping())
        return False

    def primaries(self) -> dict[str, tuple[int, int]]:
        """Return who has which slots, as the first that answers says."""
        return self.primaries_seen_by(next(host for host in self.hosts if self.answers(host)))

    def primaries_seen_by(self, witness: str) -> dict[str, tuple[int, int]]:
        """Return who has which slots, as one server says."""
        rows: Any = self.at(witness).execute_command("CLUSTER", "SLOTS")
        return {self._host(row[2][0].decode()): (row[0], row[1]) for row in rows}

    def replicas_of(self, primary: str) -> list[str]:
        """Return the replicas of a primary, as it says."""
        nodes = self._nodes(primary)
        own = next(node["node_id"] for node in nodes.values() if "myself" in node["flags"])
        followers = [at for at, node in nodes.items() if node["master_id"] == own]
        return [self._host(at.split(":")[0]) for at in followers]

    def key_at(self, primary: str) -> str:
        """Return a key whose slot a primary has."""
        first, last = self.primaries()[primary]
        for number in range(100_000):
            key = f"fleet:{{{number}}}"
            slot: Any = self.at(primary).execute_command("CLUSTER", "KEYSLOT", key)
            if first <= slot <= last:
                return key
        raise AssertionError(f"no key is on {primary}")

    def join(self) -> None:
        """Make the servers one cluster."""
        first, *others = self.hosts
        for number, host in enumerate(self.hosts[:PRIMARIES]):
            begin, end = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES - 1
            self.at(host).execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
            self.at(host).execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for host in others:
            self.at(first).execute_command("CLUSTER", "MEET", self.network.address(host), PORT)
        for host in self.hosts:
            wait_until(lambda host=host: len(self._nodes(host)) == len(self.hosts), SETTLED_S)
        for primary, replica in zip(self.hosts[:PRIMARIES], self.hosts[PRIMARIES:], strict=True):
            own: Any = self.at(primary).execute_command("CLUSTER", "MYID")
            self.at(replica).execute_command("CLUSTER", "REPLICATE", own.decode())
        self.wait_until_settled()

    def wait_until_settled(self) -> None:
        """Return when every slot is served and every replica has caught up."""
        if self.clustered:
            wait_until(lambda: all(map(self._settled, self.hosts)), SETTLED_S, every_s=0.1)

    def close(self) -> None:
        """Close our connections."""
        for client in self._clients.values():
            client.close()

    def _settled(self, host: str) -> bool:
        try:
            state: Any = self.at(host).cluster("info")
            role: Any = self.at(host).info("replication")
        except redis.RedisError:
            return False
        if state["cluster_state"] != "ok" or state["cluster_slots_ok"] != str(SLOTS):
            return False
        if role["role"] == "slave":
            return bool(role["master_link_status"] == "up")
        return bool(role["connected_slaves"])

    def _nodes(self, host: str) -> Any:
        return self.at(host).cluster("nodes")

    def _host(self, address: str) -> str:
        return next(host for host in self.hosts if self.network.address(host) == address)


@contextlib.contextmanager
def valkeys(network: Network, folder: Path, *, clustered: bool) -> Iterator[Valkeys]:
    """Run Valkey for as long as the block, on hosts `valkey1` and so on."""
    names = [f"valkey{number + 1}" for number in range(2 * PRIMARIES if clustered else 1)]
    programs: dict[str, Program] = {}
    made = Valkeys(network, clustered, programs)
    try:
        for name in names:
            network.add(name)
            programs[name] = _program(made, name, folder)
            programs[name].launch()
        for program in programs.values():
            program.wait_until_ready()
        if clustered:
            made.join()
        yield made
    finally:
        made.close()
        for program in programs.values():
            program.end()


def _program(made: Valkeys, host: str, folder: Path) -> Program:
    data = folder / host
    data.mkdir()
    options: dict[str, object] = {"dir": data, **_OPTIONS}
    if made.clustered:
        options |= {**_CLUSTERED, "cluster-announce-ip": made.network.address(host)}
    words = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return Program(
        host,
        made.network.on(host, [str(binary()), *words]),
        environment={},
        log=folder / "logs" / f"{host}.log",
        ready=lambda: made.answers(host),
    )


class Tally:
    """Counts up in one key of a primary and remembers what that confirmed.

    What a failover lost is how far the new primary is behind.
    """

    def __init__(self, made: Valkeys, primary: str) -> None:
        self._made, self._key = made, made.key_at(primary)
        self._client = redis.Redis(host=made.network.address(primary), port=PORT, socket_timeout=1)
        self.acknowledged = 0

    def count(self) -> bool:
        """Add one; return whether the primary took it."""
        try:
            self.acknowledged = int(self._client.incr(self._key))  # type: ignore[arg-type]
        except redis.RedisError:
            return False
        return True

    def lost(self) -> int:
        """Return how many of the confirmed writes the cluster does not have."""
        slot: Any = self._made.at(self._made.hosts[0]).execute_command(
            "CLUSTER", "KEYSLOT", self._key
        )
        owner = next(h for h, (a, b) in self._made.primaries().items() if a <= slot <= b)
        value: Any = self._made.at(owner).get(self._key)
        return self.acknowledged - int(value or 0)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
