"""What the ledger knows and Valkey forgot: the past of windows, and abandoned exchanges."""

from keys.core.limits import Limit, Unit, buckets
from keys.limiter import Abandonment, Backlog, LimiterUnavailable, Past
from proxy.database import Database, DatabaseUnavailable
from usage import history, ledger
from usage.pending import Rows, pending_rows

# Rows may lie ahead of Valkey's clock: a gateway's is fast, or Valkey's went back with a failover.
# They count, as if used now.
AHEAD_MS = 300_000


class LedgerHistory:
    """Answers `keys.limiter.History` from Postgres and the shard's event stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, limit: Limit, backlog: Backlog) -> Past:
        """Return what the window has seen."""
        if limit.unit is Unit.COUNTS:
            return Past(())  # Calls of count_tokens leave no rows.
        try:
            return await self._database.call(_past, limit, backlog)
        except DatabaseUnavailable as error:
            raise LimiterUnavailable(f"the ledger cannot be read: {error}") from error

    async def is_settled(self, shard: int, exchange_id: str) -> bool:
        """Answer `keys.limiter.IsSettled`."""
        try:
            return await self._database.call(_is_settled, shard, exchange_id)
        except DatabaseUnavailable as error:
            raise LimiterUnavailable(f"the ledger cannot be read: {error}") from error

    async def abandonment(self, shard: int, exchange_id: str) -> Abandonment | None:
        """Answer `keys.limiter.FindAbandonment`."""
        try:
            return await self._database.call(_abandonment, shard, exchange_id)
        except DatabaseUnavailable as error:
            raise LimiterUnavailable(f"the ledger cannot be read: {error}") from error


def _is_settled(shard: int, exchange_id: str) -> bool:
    return exchange_id in ledger.settled_among(shard, [exchange_id])


def _abandonment(shard: int, exchange_id: str) -> Abandonment | None:
    entry = ledger.abandoned(shard, exchange_id)
    if entry is None:
        return None
    at_ms = round(entry.settled_at.timestamp() * 1000)
    return Abandonment(entry.charged_tokens, entry.cost_nanousd, at_ms)


def _past(limit: Limit, backlog: Backlog) -> Past:
    if backlog.emptied:
        # What it took from the store is not among the events any more, and not in the ledger yet.
        ledger.wait_for_drain(backlog.shard)
    # A drain meanwhile makes no difference: pending rows are left out of the sums by their ids.
    pending = pending_rows(backlog.events)
    since_ms = max(_first_ms(limit, backlog.now_ms), limit.reset_at_ms)
    anchor_ms = 0
    if limit.anchored:
        anchor_ms = _anchor_ms(limit, pending)
        if anchor_ms + limit.window_s * 1000 <= backlog.now_ms or anchor_ms < limit.reset_at_ms:
            return Past(())
        since_ms = anchor_ms
    before_ms = backlog.now_ms + AHEAD_MS
    amounts = history.amounts(limit, since_ms=since_ms, before_ms=before_ms, pending=pending)
    return Past(sorted(amounts.items()), anchor_ms)


def _first_ms(limit: Limit, now_ms: int) -> int:
    bucket_ms = limit.bucket_s * 1000
    return (now_ms // bucket_ms - buckets(limit)) * bucket_ms


def _anchor_ms(limit: Limit, pending: Rows) -> int:
    """Return when the window last began, which may be over, and 0 if it never did."""
    name = limit.window_name
    newest = history.anchor_ms(**history.holder_of(limit.scope), window_name=name) or 0
    anchors = [(row["anchors"] or {}).get(name, 0) for row in pending.values()]
    return max(newest, *anchors, 0)
