"""How a table stands on its page: in which order, which the address says, and with which columns.

Which columns are hidden is a cookie of the browser, so it is each person's own. The first column
names the row and always stays. Files hold every column.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.http import HttpRequest

from usage.dashboard.filters import Filters
from usage.dashboard.tables import Cell, Column, Shown, Table

COLUMNS_COOKIE = "usage_columns"
# What a browser keeps of one cookie, less its name and attributes.
COOKIE_CHARS_MAX = 3_500
_HIDDEN = re.compile(r"[a-z-]{1,20}(\.\w{1,40}){1,20}", re.ASCII)

Hidden = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a column: what follows when it is chosen, and how it is `sorted` now.

    `sorted` is as `aria-sort` says it, "" for not.
    """

    column: Column
    query: str
    sorted: str


@dataclass(frozen=True, slots=True)
class Arranged:
    """A table as it stands: its heads, the rows with where each leads, and what may be hidden."""

    table: Table
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, Shown], ...]
    choices: tuple[tuple[Column, bool], ...]

    @property
    def hidden(self) -> int:
        """How many columns are not shown."""
        return sum(not shown for _column, shown in self.choices)


def arrange(table: Table, filters: Filters, hidden: Hidden, links: Sequence[str] = ()) -> Arranged:
    """Return the table in the order that is asked for, without the columns that are hidden."""
    order = order_of(table, filters)
    away = hidden.get(table.name, frozenset()) if table.choosable else frozenset[str]()
    choices = tuple((column, column.name not in away) for column in table.columns[1:])
    kept = [0, *(n for n, (_column, shown) in enumerate(choices, 1) if shown)]
    heads = tuple(_head(table, table.columns[n], order, filters) for n in kept)
    shown = table.shown
    rows = tuple(
        (links[row] if links else "", [shown[row][n] for n in kept]) for row in places(table, order)
    )
    return Arranged(table, heads, rows, choices if table.choosable else ())


def order_of(table: Table, filters: Filters) -> str:
    """Return by which column the rows stand, with `-` before it from the most to the least."""
    asked = filters.orders.get(table.name, "")
    known = {column.name for column in table.columns}
    return asked if asked.removeprefix("-") in known else table.order


def places(table: Table, order: str) -> list[int]:
    """Return the places of the rows in that order; what is not known comes last either way."""
    name = order.removeprefix("-")
    at = next((n for n, column in enumerate(table.columns) if column.name == name), None)
    every = range(len(table.rows))
    if at is None:
        return list(every)
    known = [n for n in every if table.rows[n][at] is not None]
    known.sort(key=lambda n: _weight(table.rows[n][at]), reverse=order.startswith("-"))
    return known + [n for n in every if table.rows[n][at] is None]


def hidden_of(request: HttpRequest) -> Hidden:
    """Return the columns this browser hides, by table."""
    kept = request.COOKIES.get(COLUMNS_COOKIE, "")[:COOKIE_CHARS_MAX].split("~")
    parts = [each.split(".") for each in kept if _HIDDEN.fullmatch(each)]
    return {name: frozenset(columns) for name, *columns in parts}


def hiding(hidden: Hidden, name: str, columns: Sequence[str]) -> str:
    """Return the cookie when of the table `name` these columns are hidden."""
    told = {**hidden, name: frozenset(columns)}
    parts = [".".join([each, *sorted(told[each])]) for each in sorted(told)]
    return "~".join(part for part in parts if _HIDDEN.fullmatch(part))[:COOKIE_CHARS_MAX]


def _head(table: Table, column: Column, order: str, filters: Filters) -> Head:
    now = {column.name: "ascending", f"-{column.name}": "descending"}.get(order, "")
    # Figures are looked through for the largest, names for the first.
    down = now == "ascending" if now else column.kind != "text"
    wanted = f"-{column.name}" if down else column.name
    return Head(column, filters.query(**{f"sort-{table.name}": wanted}), now)


def _weight(cell: Cell) -> float | str:
    if isinstance(cell, dt.datetime):
        return cell.timestamp()  # Instants: in autumn an hour of the clock comes twice.
    return cell.casefold() if isinstance(cell, str) else cell or 0
