"""What was used and what it cost, as rows: the ledger, its roll-ups, prices, dead letters."""

from usage.models.columns import AMOUNTS, TEXT_CHARS_MAX, TOKEN_COUNTS
from usage.models.ledger import DeadLetter, LedgerEntry, LedgerFloor
from usage.models.prices import Price
from usage.models.rollups import (
    Backfill,
    GroupRollup,
    HeavyHitters,
    HourlyRollup,
    KeyRollup,
    LatencyRollup,
    RollupDelta,
    SessionRollup,
)

__all__ = [
    "AMOUNTS",
    "TEXT_CHARS_MAX",
    "TOKEN_COUNTS",
    "Backfill",
    "DeadLetter",
    "GroupRollup",
    "HeavyHitters",
    "HourlyRollup",
    "KeyRollup",
    "LatencyRollup",
    "LedgerEntry",
    "LedgerFloor",
    "Price",
    "RollupDelta",
    "SessionRollup",
]
