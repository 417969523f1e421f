"""The drain: events that settlements appended to Valkey become ledger rows and roll-up sums.

The only module that writes the ledger and its roll-up. For each shard, and batch by batch:

    1  begin; take the shard's advisory lock, or leave: someone else is at it
    2  read the events after `{sNN}:drained`
    3  one statement: insert the rows, and add exactly what was inserted to the roll-up
    4  commit
    5  set `{sNN}:drained` to the last event read
    6  trim the stream, but for what a window's cold start may still read, and forget as long after
       that its exchanges were settled: until then a settlement in doubt is not charged twice
    7  when all shards are done, add what they wrote to the roll-ups of dashboards (`usage.folding`)

Killed before 4, nothing happened. Killed between 4 and 5, the batch is read again and inserts
nothing, since each row is keyed by its exchange, so nothing is added to the roll-up either. The
lock ends with the commit, so a drain that stalls between 4 and 5 may set `drained` back: a batch
is read twice, with the same result. Only what is before `drained` is ever trimmed.

A row is never changed, except that a settlement replaces an abandonment of the same exchange; the
roll-up then moves by the difference. Whichever comes first, the settlement stays; of two
settlements the first. An event that Postgres refuses becomes a dead letter and holds nobody up.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from redis import Redis

from keys import valkey
from keys.limiter import shard_tag
from usage.core.event import ExchangeStatus, join, parse_anchors
from usage.folding import fold
from usage.models import DeadLetter, LedgerEntry
from usage.statements import RECORD

# "ledg" in ASCII: the first half of the advisory lock's key, the second is the shard.
LOCK_CLASS = 0x6C656467
# A drain ends even if events come faster than it writes them; the next one starts within a second.
ROUNDS_MAX = 20

BEGINNING = "0-0"
# Beyond this share of Valkey's memory, events must be drained before long, or it will be full.
MEMORY_SHARE_MAX = 0.5
# Passes even when Valkey's memory is full: only what was drained is ever trimmed. A primary that
# took over may lack events that the drain has read, and its clock be behind: what it appends from
# now on must come after them, or nobody would ever read it. The stream refuses what is no news.
SET_DRAINED = """#!lua flags=allow-oom
redis.pcall('XSETID', KEYS[2], ARGV[1])
return redis.call('SET', KEYS[1], ARGV[1])
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Event:
    """One entry of a shard's stream, and the ledger row that it says, as JSON."""

    stream_id: str
    fields: dict[bytes, bytes]
    row: bytes


def drain(client: Redis | None = None) -> int:
    """Write the events of every shard to the ledger; return how many were read.

    Any number of drains may run at once, and each may be killed anywhere.
    """
    client = client or valkey.client()
    total = 0
    for _round in range(ROUNDS_MAX):
        counts = [_drain_batch(client, shard) for shard in _oldest_ms(client)]
        total += sum(counts)
        if max(counts, default=0) < settings.DRAIN_BATCH:
            break
    _trim(client)
    fold()
    return total


def drain_lag(client: Redis | None = None) -> float:
    """Return the age in seconds of the oldest event that is not in the ledger yet; 0 if none."""
    client = client or valkey.client()
    oldest = [(ms, shard) for shard, ms in _oldest_ms(client).items()]
    if not oldest:
        return 0.0
    oldest_ms, shard = min(oldest)
    return max(0, valkey.now_ms(client, events_key(shard)) - oldest_ms) / 1000


def memory_share(client: Redis | None = None) -> float:
    """Return the share of its bound of memory that events take on the node of Valkey where it is
    the largest; 0 where there is no bound.
    """
    client = client or valkey.client()
    pipeline = client.pipeline(transaction=False)
    for shard in range(settings.SHARDS):
        pipeline.memory_usage(events_key(shard))
    taken: dict[int, int] = {}
    bounds: dict[int, int] = {}
    for shard, size in enumerate(pipeline.execute()):
        node = valkey.primary_of(client, events_key(shard))
        taken[id(node)] = taken.get(id(node), 0) + (size or 0)
        if id(node) not in bounds:
            memory: Any = node.info("memory")
            bounds[id(node)] = int(memory["maxmemory"])
    return max(taken[node] / bound if bound else 0.0 for node, bound in bounds.items())


def position(client: Redis, shard: int) -> str:
    """Return the id of the last event of a shard that is in the ledger for certain."""
    drained: Any = client.get(_drained_key(shard))
    return _text_id(drained)


def events_key(shard: int) -> str:
    """Return the name of a shard's event stream."""
    return f"{shard_tag(shard)}:events"


def row(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """Return the ledger row that the fields of an event say. Raises `ValueError` for none."""
    try:
        joined = join(fields[b"o"], fields[b"c"], int(fields[b"t"]))
        anchors = parse_anchors(fields[b"w"])
    except KeyError as error:
        raise ValueError(f"the event has no field {error}") from error
    return joined | {"anchors": anchors}


def wait_for_drain(shard: int) -> None:
    """Return when every drain of the shard that has begun is in the ledger, or has failed.

    For whoever finds the store empty: what a drain had read by then is in its hands alone.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_CLASS, shard])


def settled_among(shard: int, exchange_ids: Sequence[str]) -> set[str]:
    """Return those of the shard's exchanges that are in the ledger, drains under way included.

    One that is there as abandoned is not settled.
    """
    wait_for_drain(shard)
    rows = LedgerEntry.objects.filter(pk__in=exchange_ids).exclude(status=ExchangeStatus.ABANDONED)
    return {exchange_id.hex for exchange_id in rows.values_list("pk", flat=True)}


def abandoned(shard: int, exchange_id: str) -> LedgerEntry | None:
    """Return the entry of an exchange of the shard if it is there as abandoned."""
    wait_for_drain(shard)
    entries = LedgerEntry.objects.filter(pk=exchange_id, status=ExchangeStatus.ABANDONED)
    return entries.first()


def _drain_batch(client: Redis, shard: int) -> int:
    with transaction.atomic():
        if not _lock(shard):
            return 0
        after = position(client, shard)
        entries: Any = client.xrange(events_key(shard), f"({after}", count=settings.DRAIN_BATCH)
        events = [event for entry in entries if (event := _event(shard, *entry))]
        _record(shard, events)
    if entries:
        client.eval(SET_DRAINED, 2, _drained_key(shard), events_key(shard), entries[-1][0])
    return len(entries)


def _lock(shard: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, shard])
        return bool(cursor.fetchone()[0])


def _event(shard: int, stream_id: bytes, fields: dict[bytes, bytes]) -> _Event | None:
    try:
        return _Event(stream_id.decode(), fields, orjson.dumps(row(fields)))
    except (ValueError, orjson.JSONEncodeError) as error:
        _quarantine(shard, stream_id.decode(), fields, error)
        return None


def _record(shard: int, events: Sequence[_Event]) -> None:
    """Write the batch; one that Postgres refuses is halved until the culprit stands alone."""
    if not events:
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            rows = b",".join(event.row for event in events)
            cursor.execute(RECORD, [f"[{rows.decode()}]"])
    except (DataError, IntegrityError) as error:
        if len(events) == 1:
            _quarantine(shard, events[0].stream_id, events[0].fields, error)
            return
        half = len(events) // 2
        _record(shard, events[:half])
        _record(shard, events[half:])


def _quarantine(shard: int, stream_id: str, fields: dict[bytes, bytes], error: Exception) -> None:
    letter = DeadLetter(
        shard=shard,
        stream_id=stream_id,
        fields={_printable(name): _printable(value) for name, value in fields.items()},
        error=str(error),
        found_at=dt.datetime.now(dt.UTC),
    )
    DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)
    logger.error("event %s of shard %s became a dead letter: %s", stream_id, shard, error)


def _printable(value: bytes) -> str:
    # Postgres keeps neither U+0000 nor what is not UTF-8.
    return value.decode(errors="backslashreplace").replace("\0", "\\x00")


def _oldest_ms(client: Redis) -> dict[int, int]:
    """Return when the oldest event not drained was appended, for each shard that has one."""
    shards = range(settings.SHARDS)
    pipeline = client.pipeline(transaction=False)
    for shard, drained in zip(shards, _positions(client), strict=True):
        pipeline.xrange(events_key(shard), f"({drained}", count=1)
    found = zip(shards, pipeline.execute(), strict=True)
    return {shard: _stream_id(entries[0][0].decode())[0] for shard, entries in found if entries}


def _trim(client: Redis) -> None:
    shards = range(settings.SHARDS)
    clocks = valkey.clocks_ms(client, [events_key(shard) for shard in shards])
    pipeline = client.pipeline(transaction=False)
    for shard, drained, now_ms in zip(shards, _positions(client), clocks, strict=True):
        keep_from = (now_ms - settings.EVENTS_KEEP_S * 1000, 0)
        ms, sequence = min(_stream_id(drained), keep_from)
        pipeline.xtrim(events_key(shard), minid=f"{ms}-{sequence}", approximate=False)
        pipeline.zremrangebyscore(f"{shard_tag(shard)}:settled", "-inf", f"({ms}")
    pipeline.execute()


def _positions(client: Redis) -> list[str]:
    pipeline = client.pipeline(transaction=False)
    for shard in range(settings.SHARDS):
        pipeline.get(_drained_key(shard))
    return [_text_id(drained) for drained in pipeline.execute()]


def _text_id(drained: bytes | None) -> str:
    return drained.decode() if drained else BEGINNING


def _stream_id(text: str) -> tuple[int, int]:
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def _drained_key(shard: int) -> str:
    return f"{shard_tag(shard)}:drained"
