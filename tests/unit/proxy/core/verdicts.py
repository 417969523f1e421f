"""Verdicts of the limiter for tests; each states only what matters to it."""

from typing import Any

from keys.core.limits import Denied, Limit, Reading, Reason, Unit

NOW_MS = 1_800_000_000_000  # 2027-01-15T08:00:00Z

_UNITS = {
    Reason.REQUESTS: Unit.REQUESTS,
    Reason.TOKENS: Unit.TOKENS,
    Reason.NANOUSD: Unit.NANOUSD,
    Reason.COUNTS: Unit.COUNTS,
}


def a_reading(
    unit: Unit = Unit.TOKENS,
    *,
    limit: int = 100,
    used: int = 100,
    held: int = 0,
    frees_at_ms: int | None = None,
    **fields: Any,
) -> Reading:
    """A spent limit of a key over a minute."""
    bound = Limit(**{"scope": "k1.0", "unit": unit, "window_s": 60, "limit": limit} | fields)
    return Reading(bound, used, held, frees_at_ms)


def a_denial(
    reason: Reason, *, retry_after_ms: int | None = 30_000, wanted: int = 1, **fields: Any
) -> Denied:
    """A denial by one limit of a key; fields of the reading may be given."""
    retry_at_ms = None if retry_after_ms is None else NOW_MS + retry_after_ms
    scope, limit = fields.get("scope", "k1.0"), fields.get("limit", 100)
    reading = None if reason is Reason.CONCURRENCY else a_reading(_UNITS[reason], **fields)
    readings = () if reading is None else (reading,)
    return Denied(NOW_MS, readings, (1,), reason, reading, scope, limit, wanted, retry_at_ms)
