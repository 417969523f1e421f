"""Keys as rows of CSV: one key a row, read and written in the same words.

    name,team,owner,plan,rpm,concurrency,models,cidrs,tokens,usd,strict,anchored,wait_s,cache,
    hangup,during_maintenance,expires_at

Of the limits an empty cell is what the plan says, or without a plan what a plain key gets;
`none` is unlimited; `all` (of models) is all. Several models, addresses or budgets stand in one
cell with spaces between: `5000000/5h 100000/15m`. Which of a key's budgets are strict or anchored
is said by `on` for all of them, or by their units and windows: `tokens/5h usd/30d`. Knows no
store: names are looked up elsewhere.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from keys.core.access import Hangup
from keys.core.budget import (
    BadBudget,
    BudgetSpec,
    format_usd,
    format_window,
    parse_tokens,
    parse_usd,
    parse_window,
)
from keys.core.limits import Unit

COLUMNS = (
    "name",
    "team",
    "owner",
    "plan",
    "rpm",
    "concurrency",
    "models",
    "cidrs",
    "tokens",
    "usd",
    "strict",
    "anchored",
    "wait_s",
    "cache",
    "hangup",
    "during_maintenance",
    "expires_at",
)
# What an export says beside that; an import overlooks it.
FACTS = ("prefix", "last_four", "status")
# What a person can read through before it is done. Each row costs some milliseconds to issue.
ROWS_MAX = 1_000
BYTES_MAX = 1024 * 1024

# Source: OWASP, "CSV Injection". An apostrophe in front makes it text; reading takes it away.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

NONE, ALL = "none", "all"
_SWITCH = {"on": True, "off": False}
ON = "on"
_UNITS = {Unit.TOKENS: "tokens", Unit.NANOUSD: "usd"}
# Columns that say more of a row's budgets.
_FLAGS = ("strict", "anchored")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in which line of the file; the first line has the names of the columns."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.message}"


class BadTable(ValueError):
    """The file cannot be taken; `problems` say why, line by line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Row:
    """One key that is wanted. `given` has what was said of its limits, as services call it."""

    line: int
    name: str
    team: str
    owner: str
    plan: str
    given: dict[str, Any] = field(default_factory=dict)


def read(text: str) -> list[Row]:
    """Return the rows of a file. Raises `BadTable` with every problem there is."""
    if len(text.encode()) > BYTES_MAX:
        raise BadTable([Problem(1, f"The file is larger than {BYTES_MAX:,} bytes.")])
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    rows: list[Row] = []
    problems = _heading(reader.fieldnames or [])
    if problems:
        raise BadTable(problems)
    try:
        for cells in reader:
            line = reader.line_num
            if len(rows) + len(problems) >= ROWS_MAX:
                problems.append(Problem(line, f"A file has at most {ROWS_MAX:,} keys."))
                break
            try:
                rows.append(_row(line, cells))
            except ValueError as error:
                problems.append(Problem(line, str(error)))
    except csv.Error as error:
        problems.append(Problem(reader.line_num, f"This is not CSV: {error}."))
    if not rows and not problems:
        problems.append(Problem(1, "There are no keys in the file."))
    if problems:
        raise BadTable(problems)
    return rows


def cell(text: str) -> str:
    """Return what to write for `text`: never what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _bare(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def budget_cell(specs: list[BudgetSpec], unit: Unit) -> str:
    """Return the budgets of one unit as they are typed; `none/5h` is one without an end."""
    return " ".join(
        f"{_amount(spec)}/{format_window(spec.window_s)}" for spec in specs if spec.unit is unit
    )


def flag_cell(specs: list[BudgetSpec], flag: str) -> str:
    """Return which of the budgets are `strict`, or `anchored`, as it is typed."""
    having = [spec for spec in specs if getattr(spec, flag)]
    if having and len(having) == len(specs):
        return ON
    return " ".join(_named(spec) for spec in having)


def _named(spec: BudgetSpec) -> str:
    return f"{_UNITS[spec.unit]}/{format_window(spec.window_s)}"


def _amount(spec: BudgetSpec) -> str:
    if spec.limit is None:
        return NONE
    return format_usd(spec.limit) if spec.unit is Unit.NANOUSD else str(spec.limit)


def _heading(names: "list[str] | Any") -> list[Problem]:
    unknown = [name for name in names if name not in COLUMNS + FACTS]
    if unknown:
        known = ", ".join(COLUMNS)
        return [Problem(1, f"There is no column '{unknown[0]}'. There are: {known}.")]
    if "name" not in names:
        return [Problem(1, "The first line must name the columns; 'name' is missing.")]
    if len(set(names)) < len(names):
        return [Problem(1, "A column stands there twice.")]
    return []


def _row(line: int, cells: dict[str | Any, Any]) -> Row:
    if None in cells or None in cells.values():
        raise ValueError("The line has another number of cells than the first.")
    said = {name: _bare(value.strip()) for name, value in cells.items()}
    name = said.get("name", "")
    if not name:
        raise ValueError("A key needs a name.")
    given = dict(_given(said))
    team, owner, plan = (said.get(who, "") for who in ("team", "owner", "plan"))
    return Row(line, name, team, owner, plan, given)


def _given(said: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for column in ("rpm", "concurrency"):
        if text := said.get(column):
            yield column, None if text == NONE else _number(column, text)
    if text := said.get("wait_s"):
        yield "wait_s", _number("wait_s", text)
    if text := said.get("models"):
        yield "models", [] if text == ALL else text.split()
    if text := said.get("cidrs"):
        yield "cidrs", text.split()
    if text := said.get("cache"):
        yield "cache_enabled", _one_of("cache", text, _SWITCH)
    if text := said.get("hangup"):
        yield "hangup", _one_of("hangup", text, {each.value: each for each in Hangup})
    if text := said.get("during_maintenance"):
        yield "during_maintenance", _one_of("during_maintenance", text, _SWITCH)
    if text := said.get("expires_at"):
        yield "expires_at", _moment(text)
    if said.get("tokens") or said.get("usd"):
        yield "budgets", _flagged(_budgets(said), said)
    elif flag := next((name for name in _FLAGS if said.get(name, "off") not in ("", "off")), None):
        raise ValueError(f"{flag}: The row names no budget in tokens or usd that could be so.")


def _budgets(said: dict[str, str]) -> list[BudgetSpec]:
    specs = []
    for column, parse in (("tokens", parse_tokens), ("usd", parse_usd)):
        for text in said.get(column, "").split():
            if text == NONE:
                continue
            amount, slash, window = text.partition("/")
            try:
                spec = parse(f"0/{window}" if amount == NONE and slash else text)
            except BadBudget as error:
                raise ValueError(f"{column}: {error}") from error
            specs.append(spec.unlimited() if amount == NONE else spec)
    return specs


def _flagged(specs: list[BudgetSpec], said: dict[str, str]) -> list[BudgetSpec]:
    strict, anchored = (_having(flag, said.get(flag, ""), specs) for flag in _FLAGS)
    return [
        replace(
            spec,
            strict=(spec.unit, spec.window_s) in strict,
            anchored=(spec.unit, spec.window_s) in anchored,
        )
        for spec in specs
    ]


def _having(flag: str, text: str, specs: list[BudgetSpec]) -> set[tuple[Unit, int]]:
    """Return the unit and the window of each budget that the cell names."""
    if text in ("", "off"):
        return set()
    there = {(spec.unit, spec.window_s) for spec in specs}
    return there if text == ON else {_budget_named(flag, word, there) for word in text.split()}


def _budget_named(flag: str, word: str, there: set[tuple[Unit, int]]) -> tuple[Unit, int]:
    name, _, window = word.partition("/")
    try:
        window_s = parse_window(window)
    except BadBudget as error:
        raise ValueError(f"{flag}: {error}") from error
    for unit, window_there in there:
        if (_UNITS[unit], window_there) == (name, window_s):
            return unit, window_there
    raise ValueError(f"{flag}: '{word}' is no budget of the row; tokens/5h or usd/30d names one.")


def _number(column: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{column}: '{text}' is not a whole number.")
    return int(text)


def _one_of(column: str, text: str, values: dict[str, Any]) -> Any:
    if text not in values:
        raise ValueError(f"{column}: '{text}' is none of {', '.join(values)}.")
    return values[text]


def _moment(text: str) -> dt.datetime:
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expires_at: '{text}' is not a date or time.") from error
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)
