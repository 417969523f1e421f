"""Tables of figures: what charts draw, pages print and files hold, so that all three agree.

A cell is raw: whole numbers in their unit, instants, text. `show` says it for people.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from usage.core.figures import compact
from usage.core.price import NANOUSD_PER_USD, humane_usd

Cell = int | float | str | dt.datetime | None
NOTHING_USED = "Nothing was used in this span."
Shown = list[tuple["Column", str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in files, its label on pages, and the kind of its cells.

    Kinds: `at`, `text`, `count`, `nanousd`, `ms`.
    """

    name: str
    label: str
    kind: str = "count"

    @property
    def number(self) -> bool:
        """Whether the cells are figures, which stand to the right."""
        return self.kind in ("count", "nanousd", "ms")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells. `name` is what its file is called, `empty` what a page says without rows.

    `order` names the column that `rows` stand by, with `-` before it from the most to the least;
    `choosable` says that its columns are always the same, so that some can be hidden for good.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = NOTHING_USED
    note: str = ""
    order: str = "start"
    choosable: bool = True

    @property
    def shown(self) -> list[Shown]:
        """The rows as a page prints them: column, text, and the exact figure for a hover."""
        return [
            [
                (column, show(column.kind, cell), exact(column.kind, cell))
                for column, cell in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]

    @property
    def used(self) -> bool:
        """Whether any figure is more than nothing."""
        places = [n for n, column in enumerate(self.columns) if column.number]
        return any(row[place] for row in self.rows for place in places)


@dataclass(frozen=True, slots=True)
class Chart:
    """How a table is drawn: `stacked` or `lines` over its instants, or `bars` of its names.

    `unit` is `count`, `usd` or `ms`; `places` are the columns that are drawn.
    """

    kind: str
    unit: str
    table: Table
    labels: tuple[str, ...]
    places: tuple[int, ...]
    starts: tuple[str, ...] = field(default=())

    @property
    def data(self) -> dict[str, Any]:
        """What the script draws."""
        return {
            "kind": self.kind,
            "unit": self.unit,
            "labels": list(self.labels),
            "starts": list(self.starts),
            "series": [
                {
                    "name": self.table.columns[place].label,
                    "data": [_drawn(self.unit, row[place]) for row in self.table.rows],
                }
                for place in self.places
            ],
        }


def over_time(kind: str, unit: str, table: Table, ends_at: dt.datetime, labelled: str) -> Chart:
    """Return the chart of a table whose first column holds instants."""
    instants = [row[0] for row in table.rows]
    labels = tuple(at.strftime(labelled) for at in instants if isinstance(at, dt.datetime))
    edges = [*instants, ends_at]
    starts = tuple(at.strftime("%Y-%m-%dT%H:%M") for at in edges if isinstance(at, dt.datetime))
    return Chart(kind, unit, table, labels, tuple(range(1, len(table.columns))), starts)


def ranked(unit: str, table: Table, place: int) -> Chart:
    """Return the chart of a top list: the column at `place` by the names of the first."""
    labels = tuple(str(row[0]) for row in table.rows)
    return Chart("bars", unit, table, labels, (place,))


def show(kind: str, cell: Cell) -> str:
    """Return a cell for people; a figure that is not known is a dash, unlike 0."""
    if cell is None:
        return "–"
    if isinstance(cell, dt.datetime):
        return cell.strftime("%Y-%m-%d %H:%M")
    if kind == "nanousd" and isinstance(cell, int):
        return humane_usd(cell)
    if kind == "ms" and isinstance(cell, int | float):
        return f"{cell:,.0f} ms" if cell < 10_000 else f"{cell / 1000:,.1f} s"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def exact(kind: str, cell: Cell) -> str:
    """Return what hovering over a cell tells beyond its text, "" for nothing more."""
    if isinstance(cell, dt.datetime):
        return cell.strftime("%Y-%m-%d %H:%M %Z")
    return f"${usd(cell)}" if kind == "nanousd" and isinstance(cell, int) else ""


def usd(amount_nanousd: int) -> str:
    """Return dollars to the last digit."""
    return f"{Decimal(amount_nanousd) / NANOUSD_PER_USD:f}"


def headline(kind: str, amount: int) -> str:
    """Return a figure for a headline."""
    return humane_usd(amount) if kind == "nanousd" else compact(amount)


def _drawn(unit: str, cell: Cell) -> float | int | None:
    if not isinstance(cell, int | float):
        return None
    return cell / NANOUSD_PER_USD if unit == "usd" else cell


def columns_of(names: Sequence[str], labels: Sequence[str], kind: str) -> tuple[Column, ...]:
    """Return columns of one kind."""
    return tuple(Column(n, label, kind) for n, label in zip(names, labels, strict=True))
