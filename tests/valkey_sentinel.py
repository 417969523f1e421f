"""A primary, its replica and a sentinel on this machine, for tests that break them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.valkey_cluster import START_S, Server
from tests.waiting import wait_until

SERVICE = "main"
# A primary that is silent for so long is replaced.
DOWN_AFTER_MS = 1_000


class Watched:
    """Two servers and the sentinel that names one of them."""

    def __init__(self, folder: Path) -> None:
        self.servers = [Server(folder, "one", {})]
        self.servers.append(Server(folder, "two", {"replicaof": f"127.0.0.1 {self._first}"}))
        wait_until(lambda: self._replicates(self.servers[1]), START_S)
        written = folder / "sentinel.conf"
        written.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._first} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        self.sentinel = _Sentinel(folder, written)
        wait_until(self._knows_both, START_S)

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}?db=0"

    def primary(self) -> Server:
        """The server that the sentinel names."""
        _host, port = self.sentinel.client.sentinel_get_master_addr_by_name(SERVICE)
        return next(server for server in self.servers if server.port == port)

    def fail_over(self) -> None:
        """Have the sentinel name the other server, and return when it does."""
        before = self.primary()
        wait_until(self._takes_the_order, START_S)
        wait_until(lambda: self.primary() is not before, START_S)

    def stop(self) -> None:
        """End all processes."""
        for server in (self.sentinel, *self.servers):
            server.stop()

    def _takes_the_order(self) -> bool:
        with contextlib.suppress(redis.ResponseError):  # It has no replica to name yet.
            self.sentinel.client.execute_command("SENTINEL", "FAILOVER", SERVICE)
            return True
        return False

    @property
    def _first(self) -> int:
        return self.servers[0].port

    def _replicates(self, server: Server) -> bool:
        return bool(server.client.info("replication").get("master_link_status") == "up")

    def _knows_both(self) -> bool:
        return self.sentinel.client.sentinel_master(SERVICE)["num-slaves"] == 1


class _Sentinel(Server):
    def __init__(self, folder: Path, written: Path) -> None:
        super().__init__(folder, "sentinel", {}, written, "--sentinel")


@contextlib.contextmanager
def a_watched_primary(folder: Path) -> Iterator[Watched]:
    """Run all three for as long as the block runs."""
    watched = Watched(folder)
    try:
        yield watched
    finally:
        watched.stop()
