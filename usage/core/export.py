"""Ledger rows as lines of JSON or cells of CSV. Knows no database and no file."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

# A spreadsheet runs a cell that begins so; some of our text comes from clients.
# Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def json_line(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return the row as one JSON object: ids in 32 hexadecimal characters, times in RFC 3339."""
    row = {
        name: value.hex if isinstance(value, UUID) else value
        for name, value in zip(columns, values, strict=True)
    }
    return orjson.dumps(row, option=orjson.OPT_UTC_Z).decode()


def csv_cell(value: Any) -> str:
    """Return what to write for `value`: nothing for `None`, and never text that is a formula.

    Text that a spreadsheet would run gets an apostrophe in front.
    """
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case bool():
            return "true" if value else "false"
        case UUID():
            return value.hex
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
        case int():
            return str(value)
        case _:
            return orjson.dumps(value).decode()
