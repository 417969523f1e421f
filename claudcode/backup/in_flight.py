"""What Valkey alone has, as JSON lines: exchanges with an open lease, and events of settlements.

Windows are left out: they are sums of the ledger, and are loaded from it at their next use.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from redis import Redis

from keys import valkey
from keys.limiter import shard_tag
from usage import ledger
from usage.models import LedgerEntry

LEASE, EVENT = "lease", "event"
PAGE = 1000
# One shard at one moment; it only reads.
OPEN_LEASES = """
local found = {}
for _, exchange in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local fields = redis.call('HGETALL', ARGV[1] .. 'x:' .. exchange)
  if #fields > 0 then found[#found + 1] = {exchange, fields} end
end
return found
"""


def now_ms(client: Redis) -> int:
    """Return Valkey's clock; in a cluster that of the first shard's node."""
    return valkey.now_ms(client, ledger.events_key(0))


def leases(client: Redis) -> Iterator[dict[str, Any]]:
    """Return the exchanges in flight, with everything their abandonment needs."""
    for shard in range(settings.SHARDS):
        tag = shard_tag(shard)
        found: Any = client.eval(OPEN_LEASES, 1, f"{tag}:leases", f"{tag}:")
        for exchange, fields in found:
            pairs = zip(fields[::2], fields[1::2], strict=True)
            yield {"kind": LEASE, "shard": shard, "id": _text(exchange), "fields": _texts(pairs)}


def events(client: Redis) -> Iterator[dict[str, Any]]:
    """Return every event that is still there. Streams that grow meanwhile end at their page."""
    for shard in range(settings.SHARDS):
        after = "-"
        while True:
            page: Any = client.xrange(ledger.events_key(shard), after, count=PAGE)
            for _id, fields in page:
                yield {"kind": EVENT, "shard": shard, "fields": _texts(fields.items())}
            if len(page) < PAGE:
                break
            after = f"({_text(page[-1][0])}"


def put_events(client: Redis, found: Iterable[dict[str, Any]]) -> int:
    """Append events for the drain, which takes each exchange once; return how many."""
    count = 0
    for line in found:
        client.xadd(ledger.events_key(line["shard"]), _fields(line))  # type: ignore[arg-type]
        count += 1
    return count


def put_leases(client: Redis, found: Iterable[dict[str, Any]]) -> int:
    """Take leases that have expired, of exchanges the ledger does not have; return how many.

    The next sweep abandons them. Nothing is held for them in windows that begin anew.
    """
    count = 0
    for line in found:
        if LedgerEntry.objects.filter(pk=UUID(line["id"])).exists():
            continue
        tag = shard_tag(line["shard"])
        fields: Any = _fields(line) | {"h": b"{}"}
        client.hset(f"{tag}:x:{line['id']}", mapping=fields)
        client.zadd(f"{tag}:leases", {line["id"]: 0})
        count += 1
    return count


def encoded(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return JSON lines."""
    for line in lines:
        yield json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _text(value: bytes) -> str:
    # What is not UTF-8 comes back as it was.
    return value.decode(errors="surrogateescape")


def _texts(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in pairs}


def _fields(line: dict[str, Any]) -> dict[str, bytes]:
    return {name: value.encode(errors="surrogateescape") for name, value in line["fields"].items()}
