"""The ledger as CSV for a browser: page after page as the reader takes it, never all at once."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from usage import replica
from usage.admin.keyset import after
from usage.core.export import csv_cell
from usage.models import LedgerEntry

COLUMNS = tuple(field.attname for field in LedgerEntry._meta.concrete_fields)
# A page is a query of its own, so no transaction stays open while somebody downloads a year.
ROWS_AT_ONCE = 2_000
_SETTLED_AT, _EXCHANGE_ID = COLUMNS.index("settled_at"), COLUMNS.index("exchange_id")


def export(entries: QuerySet[LedgerEntry], name: str) -> StreamingHttpResponse:
    """Answer with `entries`, the newest first, as a file."""
    response = StreamingHttpResponse(_pages(entries), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response


async def _pages(entries: QuerySet[LedgerEntry]) -> AsyncIterator[str]:
    ordered = entries.order_by("-settled_at", "-exchange_id").values_list(*COLUMNS)
    yield _lines([COLUMNS])
    rows = await _read(ordered)
    while rows:
        yield _lines([[csv_cell(value) for value in row] for row in rows])
        if len(rows) < ROWS_AT_ONCE:
            return
        rows = await _read(after(ordered, rows[-1][_SETTLED_AT], rows[-1][_EXCHANGE_ID]))


@sync_to_async
def _read(entries: QuerySet[Any, Any]) -> list[Any]:
    return replica.read(lambda: list(entries[:ROWS_AT_ONCE]))


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
