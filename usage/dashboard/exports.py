"""One panel as a file: CSV that no spreadsheet runs, or JSON. Streamed in pieces of some rows."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import orjson
from django.http import StreamingHttpResponse

from usage.core.export import csv_cell
from usage.dashboard.tables import Table

ROWS_AT_ONCE = 500


def as_csv(table: Table) -> StreamingHttpResponse:
    """Answer with the table as CSV: instants in RFC 3339, money in nano-dollars."""
    return _file(_csv_pieces(table), table, "csv", "text/csv; charset=utf-8")


def as_json(table: Table, about: dict[str, Any]) -> StreamingHttpResponse:
    """Answer with the table as JSON: an object of what it is `about`, and its rows as objects."""
    return _file(_json_pieces(table, about), table, "json", "application/json")


def _csv_pieces(table: Table) -> Iterator[str]:
    yield _lines([[csv_cell(column.name) for column in table.columns]])
    for first in range(0, len(table.rows), ROWS_AT_ONCE):
        rows = table.rows[first : first + ROWS_AT_ONCE]
        yield _lines([[csv_cell(cell) for cell in row] for row in rows])


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _json_pieces(table: Table, about: dict[str, Any]) -> Iterator[bytes]:
    yield orjson.dumps(about)[:-1] + b',"rows":['
    names = [column.name for column in table.columns]
    for n, row in enumerate(table.rows):
        found = orjson.dumps(dict(zip(names, row, strict=True)))
        yield b"," + found if n else found
    yield b"]}"


def _file(pieces: Iterator[Any], table: Table, ending: str, kind: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="usage-{table.name}.{ending}"'
    return response
