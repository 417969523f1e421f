"""Events that the ledger may or may not have yet, as the rows that it will take from them.

The drain's rule: a settlement replaces an abandonment, and of two settlements the first stays.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from usage import ledger
from usage.core.event import ExchangeStatus
from usage.models import LedgerEntry

Rows = dict[str, dict[str, Any]]

# What a row must have as a whole number to count in a window.
_NUMBERS = ("apikey_id", "admitted_at_ms", "settled_at_ms", "charged_tokens", "cost_nanousd")


def pending_rows(events: Sequence[dict[bytes, bytes]]) -> Rows:
    """Return the rows that the ledger will take from `events`, oldest first, by exchange."""
    rows: Rows = {}
    for fields in events:
        try:
            row = ledger.row(fields)
            exchange_id = UUID(str(row["exchange_id"])).hex
        except ValueError:
            continue  # A dead letter to be.
        if not all(isinstance(row.get(name), int) for name in _NUMBERS):
            continue  # Another.
        if exchange_id not in rows or _replaces(row, rows[exchange_id]["status"]):
            rows[exchange_id] = row
    stored = LedgerEntry.objects.filter(pk__in=rows).values_list("pk", "status")
    for stored_id, status in stored:
        if not _replaces(rows[stored_id.hex], status):
            del rows[stored_id.hex]
    return rows


def _replaces(row: dict[str, Any], status: str) -> bool:
    abandoned = ExchangeStatus.ABANDONED
    return status == abandoned and row["status"] != abandoned
