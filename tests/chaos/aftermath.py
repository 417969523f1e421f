"""What is left in Valkey when everybody has gone home: nothing must be held, and no place taken."""

from collections.abc import Sequence

import httpx
from redis import Redis

from tests.chaos.crowd import Developer
from tests.waiting import wait_until

# A sweep and a drain run every second; on a busy machine they take theirs.
SWEPT_S = 15.0


def wait_until_quiet(store: Redis, lease_ttl_s: float) -> list[str]:
    """Wait until no lease is left and the ledger has everything; return what did not end."""
    try:
        wait_until(lambda: not _leases(store) and not _lag_s(store), lease_ttl_s + SWEPT_S)
    except AssertionError:
        leases, lag_s = _leases(store), _lag_s(store)
        return [f"{len(leases)} leases left, for example {leases[:3]}; ledger {lag_s:.1f} s behind"]
    return []


def left_behind(store: Redis) -> list[str]:
    """Return every place that is taken, every reservation that is held, every exchange known."""
    found = []
    for key in store.scan_iter(match="{s*}:c:*", count=1000):
        taken = store.hget(key, "f")
        if taken is not None:
            found.append(f"{key.decode()}: {int(taken)} in flight")
    for key in store.scan_iter(match="{s*}:w:*", count=1000):
        held = int(store.hget(key, "h") or 0)
        if held:
            found.append(f"{key.decode()}: {held} held")
    for key in store.scan_iter(match="{s*}:x:*", count=1000):
        fields = set(store.hkeys(key))  # None: swept since the scan.
        if fields and not fields & {b"at", b"s"}:
            found.append(f"{key.decode()}: still known, and not abandoned")
    return found


def in_flight_as_told(urls: Sequence[str], developers: Sequence[Developer]) -> list[str]:
    """Return the keys of which a gateway says that something is in flight."""
    found = []
    for url in urls:
        for developer in developers:
            headers = {"x-api-key": developer.secret}
            status = httpx.get(f"{url}/v1/key-status", headers=headers, trust_env=False).json()
            if status["rate_limit"]["in_flight"]:
                found.append(f"{url}: key {developer.apikey_id}: {status['rate_limit']}")
    return found


def _leases(store: Redis) -> list[str]:
    keys = store.scan_iter(match="{s*}:leases", count=1000)
    return [lease.decode() for key in keys for lease in store.zrange(key, 0, -1)]


def _lag_s(store: Redis) -> float:
    from usage.ledger import drain_lag

    return drain_lag(store)
