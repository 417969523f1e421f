"""Figures as values, and the targets they are held against. Pure.

A case gives sections; a section is a small table. The first column of a row is what its target
speaks of.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it shows, in which unit, with how many decimals."""

    name: str
    unit: str = ""
    decimals: int = 2

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """What the first figure of a row should reach: at most, or at least, `value`."""

    value: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'>' if self.at_least else '<'} {self.value:,g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: `None` stands for what was not measured."""

    label: str
    values: tuple[float | None, ...]
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one case; `remarks` are sentences that stand below."""

    case: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"{self.case}, {row.label}: a value for each column")


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run: when and where it was made, and its sections."""

    at: str
    machine: dict[str, Any]
    scale: str
    sections: list[Section] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        return asdict(self)


def from_json(content: dict[str, Any]) -> Report:
    """Return the report that `Report.as_json` gave."""
    sections = [
        Section(
            case=section["case"],
            title=section["title"],
            columns=tuple(Column(**column) for column in section["columns"]),
            rows=tuple(_row(row) for row in section["rows"]),
            remarks=tuple(section["remarks"]),
        )
        for section in content["sections"]
    ]
    return Report(content["at"], content["machine"], content["scale"], sections)


def errors_remark(counts: Sequence[int], example: str) -> tuple[str, ...]:
    """Return a remark about failed exchanges, or nothing when there are none."""
    if not sum(counts):
        return ()
    return (f"{sum(counts)} exchanges failed and are not counted, such as: {example}",)


def _row(row: dict[str, Any]) -> Row:
    target = Target(**row["target"]) if row["target"] else None
    return Row(row["label"], tuple(row["values"]), target)
