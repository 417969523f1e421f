"""Proves that the books agree: roll-ups and Valkey's windows with the ledger.

Only reads. A window and the events not drained yet are read at one instant, so a running gateway
disturbs little; but exact equality is promised only while nothing is being settled.

    tokens, nano-dollars    each live bucket = ledger + events not drained
    anchored                used = the same since the window's start
    requests                used >= requests in the ledger: those in flight are not there yet

Left out, and counted as skipped: windows of an earlier generation of their key or team, which
nobody reads any more, and windows without a budget, of which no one knows when they were reset.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import connection
from django.utils import timezone
from redis import Redis

from keys import valkey
from keys.core.limits import Limit, Unit, buckets
from keys.core.scope import apikey_scope, team_scope
from keys.inheritance import holdings
from keys.models import ApiKey, Team
from keys.policy import budget_limit
from usage import history, ledger
from usage.catching_up import sessions_since
from usage.models import DeadLetter, HourlyRollup, LedgerEntry
from usage.pending import Rows, pending_rows
from usage.rolling import TABLES, compare
from usage.statements import COMPARE, SUMS

# Read in one transaction of Valkey, which serves nobody else meanwhile: a few milliseconds.
WINDOWS_AT_ONCE = 100

_KEY = re.compile(r"\{s(?P<shard>\d+)\}:w:(?P<name>.+)")
_NAME = re.compile(
    r"(?P<scope>(?P<kind>[kt])(?P<id>\d+)\.\d+):(?P<unit>tok|usd|req):(?P<window_s>\d+)(:a)?"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what the ledger says."""

    where: str
    stored: int
    ledger: int


@dataclass(frozen=True, slots=True)
class Report:
    """How much was compared, and every difference found."""

    entries: int
    rollups: int
    windows: int
    windows_skipped: int
    dead_letters: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    now_ms: int
    pending: Rows
    stored: dict[str, dict[str, str]]


def verify(client: Redis | None = None) -> Report:
    """Compare everything with the ledger. Takes a pass over all of it."""
    client = client or valkey.client()
    differences = [*_rollup_differences(), *_dashboard_differences()]
    compared, skipped = 0, 0
    for shard, names in _windows(client).items():
        for start in range(0, len(names), WINDOWS_AT_ONCE):
            some = names[start : start + WINDOWS_AT_ONCE]
            limits = _limits(some)
            snapshot = _snapshot(client, shard, list(limits))
            for limit in limits.values():
                differences += _window_differences(limit, snapshot)
            compared += len(limits)
            skipped += len(some) - len(limits)
    return Report(
        entries=LedgerEntry.objects.count(),
        rollups=HourlyRollup.objects.count(),
        windows=compared,
        windows_skipped=skipped,
        dead_letters=DeadLetter.objects.count(),
        differences=tuple(differences),
    )


def _rollup_differences() -> Iterator[Difference]:
    with connection.cursor() as cursor:
        cursor.execute(COMPARE)
        found = cursor.fetchall()
    for hour, apikey_id, team_id, model, summed, stored in found:
        where = f"roll-up {hour:%Y-%m-%dT%HZ} key {apikey_id} team {team_id or '-'} {model}"
        for name, expected, kept in zip(SUMS, summed, stored, strict=True):
            if kept != expected:
                yield Difference(f"{where}: {name}", kept, expected)


def _dashboard_differences() -> Iterator[Difference]:
    """Compare the roll-ups that dashboards read; of sessions, the days that are kept."""
    for table in TABLES:
        with connection.cursor() as cursor:
            cursor.execute(compare(table, sessions_since(timezone.now())))
            found = cursor.fetchall()
        for dimensions, summed, stored in found:
            where = f"{table.name} {' '.join(text or '-' for text in dimensions)}"
            for name, expected, kept in zip(table.sums, summed, stored, strict=True):
                if kept != expected:
                    yield Difference(f"{where}: {name}", kept, expected)


def _windows(client: Redis) -> dict[int, list[str]]:
    """Return the names of all windows there are, by shard."""
    found: dict[int, list[str]] = {}
    for key in sorted(set(client.scan_iter(match="{s*}:w:*", count=1_000))):
        if match := _KEY.fullmatch(key.decode()):
            found.setdefault(int(match["shard"]), []).append(match["name"])
    return found


def _limits(names: Sequence[str]) -> dict[str, Limit]:
    """Return the limits in force that the windows count for, by the names of the windows."""
    parsed = [match for name in names if (match := _NAME.fullmatch(name))]
    ids = {kind: {int(m["id"]) for m in parsed if m["kind"] == kind} for kind in "kt"}
    apikeys = list(ApiKey.objects.filter(pk__in=ids["k"]).select_related("plan"))
    held = holdings(apikeys, Team.objects.filter(pk__in=ids["t"]))
    limits = [budget_limit(holding) for some in held.values() for holding in some]
    scopes = _current_scopes(ids["k"], ids["t"])
    limits += [
        Limit(m["scope"], Unit.REQUESTS, int(m["window_s"]), limit=0)
        for m in parsed
        if m["unit"] == Unit.REQUESTS and m["scope"] in scopes
    ]
    known = {limit.window_name: limit for limit in limits if limit is not None}
    return {name: known[name] for name in names if name in known}


def _current_scopes(apikey_ids: set[int], team_ids: set[int]) -> set[str]:
    apikeys = ApiKey.objects.filter(pk__in=apikey_ids).values_list("pk", "scope_generation")
    teams = Team.objects.filter(pk__in=team_ids).values_list("pk", "scope_generation")
    return {apikey_scope(*row) for row in apikeys} | {team_scope(*row) for row in teams}


def _snapshot(client: Redis, shard: int, names: Sequence[str]) -> _Snapshot:
    first = ledger.events_key(shard)
    pipeline = client.pipeline(transaction=True)
    # In the transaction: of the node that has them, at their instant.
    pipeline.execute_command("EVAL", "return redis.call('TIME')", 1, first)
    # A drain meanwhile makes no difference: what is in the ledger by then is not pending.
    pipeline.xrange(first, f"({ledger.position(client, shard)}")
    for name in names:
        pipeline.hgetall(f"{{s{shard:02d}}}:w:{name}")
    now, events, *hashes = pipeline.execute()
    return _Snapshot(
        valkey.milliseconds(now),
        pending_rows([fields for _id, fields in events]),
        {
            name: {field.decode(): value.decode() for field, value in found.items()}
            for name, found in zip(names, hashes, strict=True)
        },
    )


def _window_differences(limit: Limit, snapshot: _Snapshot) -> Iterator[Difference]:
    stored = snapshot.stored[limit.window_name]
    if not stored:
        return  # Dropped since the scan.
    if limit.anchored:
        yield from _anchored_differences(limit, snapshot, stored)
    elif limit.unit is Unit.REQUESTS:
        yield from _requests_differences(limit, snapshot, stored)
    else:
        first = _first(limit, snapshot)
        expected = _charges(limit, snapshot, first * limit.bucket_s * 1000)
        kept = _buckets(stored, first)
        for index in sorted(kept.keys() | expected.keys()):
            if kept.get(index, 0) != expected.get(index, 0):
                where = f"window {limit.window_name}: bucket {index}"
                yield Difference(where, kept.get(index, 0), expected.get(index, 0))


def _anchored_differences(
    limit: Limit, snapshot: _Snapshot, stored: dict[str, str]
) -> Iterator[Difference]:
    start_ms, used = int(stored["start"]), int(stored["u"])
    if 0 < start_ms <= snapshot.now_ms - limit.window_s * 1000:
        return  # Over; the next use empties it.
    expected = sum(_charges(limit, snapshot, start_ms).values()) if start_ms else 0
    if used != expected:
        yield Difference(f"window {limit.window_name}: used", used, expected)


def _requests_differences(
    limit: Limit, snapshot: _Snapshot, stored: dict[str, str]
) -> Iterator[Difference]:
    first = _first(limit, snapshot)
    used = sum(_buckets(stored, first).values())
    # One bucket less than is live: rows carry a gateway's clock, windows Valkey's.
    expected = sum(_charges(limit, snapshot, (first + 1) * limit.bucket_s * 1000).values())
    if used < expected:
        yield Difference(f"window {limit.window_name}: requests", used, expected)


def _first(limit: Limit, snapshot: _Snapshot) -> int:
    return snapshot.now_ms // (limit.bucket_s * 1000) - buckets(limit)


def _buckets(stored: dict[str, str], first: int) -> dict[int, int]:
    """Return what the live buckets hold, by index."""
    amounts = {int(f[1:]): int(value) for f, value in stored.items() if f.startswith("b")}
    return {index: amount for index, amount in amounts.items() if index >= first}


def _charges(limit: Limit, snapshot: _Snapshot, since_ms: int) -> dict[int, int]:
    """Return what the ledger will say when all is drained, by bucket."""
    return history.amounts(
        limit,
        since_ms=max(since_ms, limit.reset_at_ms),
        before_ms=snapshot.now_ms + 1,
        pending=snapshot.pending,
    )
