"""The past of a window that Valkey does not know: ledger rows, and events not drained yet."""

from typing import Any

from keys.core.limits import Limit, Unit, buckets
from keys.limiter import Backlog, LimiterUnavailable, Past
from proxy.database import Database, DatabaseUnavailable
from usage import history
from usage.core.event import join


class LedgerHistory:
    """Answers `keys.limiter.History` from Postgres and the shard's event stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, limit: Limit, backlog: Backlog) -> Past:
        """Return what the window has seen up to `backlog.now_ms`."""
        if limit.unit is Unit.COUNTS:
            return Past(())  # Calls of count_tokens leave no rows.
        pending = _rows_of(limit.scope, backlog)
        try:
            return await self._database.call(_past, limit, backlog, pending)
        except DatabaseUnavailable as error:
            raise LimiterUnavailable(f"the ledger cannot be read: {error}") from error


def _past(limit: Limit, backlog: Backlog, pending: dict[str, dict[str, Any]]) -> Past:
    holder = _holder(limit.scope)
    anchor_ms = 0
    if limit.anchored:
        anchor_ms = _anchor_ms(limit, holder, backlog, pending)
        if not anchor_ms:
            return Past(())
    since_ms = max(_first_ms(limit, backlog.now_ms), limit.reset_at_ms, anchor_ms)
    amounts: dict[int, int] = dict(
        history.charges(
            **holder,
            unit=limit.unit,
            bucket_s=limit.bucket_s,
            since_ms=since_ms,
            # The row of an event that came in this very millisecond counts too.
            before_ms=backlog.now_ms + 1,
            excluding=list(pending),
        )
    )
    for row in pending.values():
        at_ms, amount = _charge(limit.unit, row)
        if at_ms >= since_ms:
            index = at_ms // (limit.bucket_s * 1000)
            amounts[index] = amounts.get(index, 0) + amount
    return Past(sorted(amounts.items()), anchor_ms)


def _first_ms(limit: Limit, now_ms: int) -> int:
    bucket_ms = limit.bucket_s * 1000
    return (now_ms // bucket_ms - buckets(limit)) * bucket_ms


def _anchor_ms(
    limit: Limit,
    holder: dict[str, int | None],
    backlog: Backlog,
    pending: dict[str, dict[str, Any]],
) -> int:
    newest = history.anchor_ms(**holder, window_name=limit.window_name) or 0
    for row in pending.values():
        newest = max(newest, row["anchors"].get(limit.window_name, 0))
    over = newest + limit.window_s * 1000 <= backlog.now_ms
    return 0 if over or newest < limit.reset_at_ms else newest


def _rows_of(scope: str, backlog: Backlog) -> dict[str, dict[str, Any]]:
    """Return the newest row of each exchange of `scope` among the events."""
    rows = {}
    for event in backlog.events:
        if scope in event[b"k"].decode().split():
            row = join(event[b"o"], event[b"c"] or None, int(event[b"t"]))
            row["anchors"] = _anchors(event[b"w"].decode())
            rows[row["exchange_id"]] = row
    return rows


def _anchors(text: str) -> dict[str, int]:
    pairs = (pair.rpartition("=") for pair in text.split(",") if pair)
    return {name: int(start_ms) for name, _, start_ms in pairs}


def _charge(unit: Unit, row: dict[str, Any]) -> tuple[int, int]:
    if unit is Unit.REQUESTS:
        return row["admitted_at_ms"], 1
    if unit is Unit.TOKENS:
        return row["settled_at_ms"], row["charged_tokens"]
    return row["settled_at_ms"], row["cost_nanousd"]


def _holder(scope: str) -> dict[str, int | None]:
    """Turn `k12.0` or `t3.0` into what the ledger's rows name it by."""
    number = int(scope[1:].partition(".")[0])
    team = scope.startswith("t")
    return {"apikey_id": None if team else number, "team_id": number if team else None}
