"""The panels of the page, each a table that a chart draws: asked of the roll-ups, never the ledger.

Each is asked by itself, so that one which cannot be answered for these filters says so in its
place, and a file of one panel asks for no other.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from usage.dashboard.filters import GROUPS, MEASURES, Filters
from usage.dashboard.names import is_id, names
from usage.dashboard.tables import (
    NOTHING_USED,
    Cell,
    Chart,
    Column,
    Table,
    columns_of,
    over_time,
    ranked,
)
from usage.reading.percentiles import Latency, percentiles
from usage.reading.question import Group, Step, Unanswerable
from usage.reading.scope import Holder, Scope, of_keys
from usage.reading.series import Line, series
from usage.reading.sessions import SESSION_RANKS, Used, sessions
from usage.reading.totals import errors_by_type, top

TOKEN_KINDS = {
    "input_tokens": "Input",
    "output_tokens": "Output",
    "cache_creation_input_tokens": "Cache write",
    "cache_read_input_tokens": "Cache read",
}
TOP_SHOWN = 10
TOP_RANKED = ("requests", "charged_tokens", "cost_nanousd")
SESSIONS_SHOWN = 50
PERCENTS = (50, 95, 99)
# What a measure of the page is added up from; the first ranks the groups.
_ADDED_UP = {
    "cost": ("cost_nanousd",),
    "tokens": ("charged_tokens", *TOKEN_KINDS),
    "requests": ("requests",),
    "errors": ("errors",),
    "saved": ("saved_nanousd",),
}
_MONEY = ("cost", "saved")


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its table and its chart, or why there is none."""

    name: str
    title: str
    table: Table | None = None
    chart: Chart | None = None
    problem: str = ""
    links: tuple[str, ...] = ()

    @property
    def script_id(self) -> str:
        """The id of the element that holds what the script draws."""
        return f"chart-{self.name}"


Maker = Callable[[Filters], Panel]


def make(name: str, filters: Filters) -> Panel:
    """Return the panel of that name. Raises `KeyError` for none."""
    title, maker = PANELS[name]
    try:
        return maker(filters)
    except Unanswerable as error:
        return Panel(name, title, problem=str(error))


def use(filters: Filters) -> Panel:
    """Return the measure over time, told apart by the group."""
    wanted = _ADDED_UP[filters.measure]
    found = series(
        filters.scope,
        filters.start,
        filters.end,
        filters.step,
        filters.zone,
        group_by=filters.group_by,
        measures=wanted,
        filters=filters.only,
    )
    called = names(filters.group_by, [line.name for line in found.lines if not line.other])
    kind = "nanousd" if filters.measure in _MONEY else "count"
    labels = ["Other" if li.other else called[li.name] for li in found.lines]
    if filters.group_by is None:
        labels = [MEASURES[filters.measure]]
    lines = [_summed(line, wanted) for line in found.lines]
    columns = columns_of(labels, labels, kind)
    group, title = GROUPS[filters.group][0].lower(), MEASURES[filters.measure]
    title = f"{title} by {group}" if filters.group_by else title
    table = Table("use", title, (_AT, *columns), _rows(found.starts, lines), choosable=False)
    unit = "usd" if kind == "nanousd" else "count"
    return Panel("use", title, table, _drawn("stacked", unit, table, filters))


def tokens(filters: Filters) -> Panel:
    """Return tokens over time by their kind."""
    return _kinds(filters, "tokens", "Tokens by kind", TOKEN_KINDS, "count")


def requests(filters: Filters) -> Panel:
    """Return requests over time by how they ended."""
    return _kinds(filters, "requests", "Requests by outcome", _OUTCOMES, "count")


def saved(filters: Filters) -> Panel:
    """Return what the gateway's response cache saved over time."""
    kinds = {"saved_nanousd": "Saved by the response cache"}
    empty = "The response cache answered nothing in this span."
    return _kinds(filters, "saved", "Saved by the response cache", kinds, "nanousd", empty)


def first_byte(filters: Filters) -> Panel:
    """Return percentiles of the time to the first byte."""
    return _latency(filters, "first-byte", "Time to first byte", Latency.FIRST_BYTE)


def total_time(filters: Filters) -> Panel:
    """Return percentiles of the time to the last byte."""
    return _latency(filters, "total-time", "Time to the last byte", Latency.TOTAL)


def errors(filters: Filters) -> Panel:
    """Return errors by their type."""
    found = errors_by_type(filters.scope, filters.start, filters.end, filters=filters.only)
    called = names(Group.ERROR, [name for name, _count in found])
    columns = (Column("error_type", "Error type", "text"), Column("requests", "Requests"))
    rows = tuple((called[name], count) for name, count in found)
    empty = "No request failed in this span."
    table = Table("errors", "Errors by type", columns, rows, empty, order="-requests")
    chart = ranked("count", table, 1)
    return Panel("errors", table.title, table, chart, links=tuple(name for name, _n in found))


def top_list(group_name: str) -> Maker:
    """Return the maker of the list of those who cost most, or had most of what it is sorted by."""
    label, group = GROUPS[group_name]
    assert group is not None

    def made(filters: Filters) -> Panel:
        name, ranks = f"top-{group_name}", _ranks(label)
        by = _most_of(filters, name, TOP_RANKED)
        found = top(
            filters.scope,
            filters.start,
            filters.end,
            group,
            by=by,
            most=TOP_SHOWN,
            measures=TOP_RANKED,
            filters=filters.only,
        )
        called = names(group, [each.name for each in found])
        rows = tuple(
            (
                called[each.name],
                each.now["requests"],
                each.now["charged_tokens"],
                each.now["cost_nanousd"],
                each.before["cost_nanousd"],
            )
            for each in found
        )
        note = _cut(rows, TOP_SHOWN, ranks, by)
        table = Table(name, f"Top by {label.lower()}", ranks, rows, note=note, order=f"-{by}")
        chart = ranked("usd", table, 3)
        links = tuple(each.name for each in found)
        return Panel(table.name, table.title, table, chart, links=links)

    return made


def session_list(filters: Filters) -> Panel:
    """Return Claude Code's sessions that cost most, or had most of what they are sorted by."""
    by = _most_of(filters, "sessions", tuple(SESSION_RANKS))
    found = sessions(filters.scope, filters.start, filters.end, by=by, most=SESSIONS_SHOWN)
    called = names(Group.KEY, [str(each.apikey_id) for each in found])
    rows = tuple(
        (
            each.session_id,
            called[str(each.apikey_id)],
            each.used.last_at.astimezone(filters.zone),
            each.agents,
            each.used.requests,
            each.used.errors,
            _all_tokens(each.used),
            each.used.cost_nanousd,
        )
        for each in found
    )
    empty = "No session of Claude Code was heard of in this span. It names them by itself."
    note = _cut(rows, SESSIONS_SHOWN, _SESSION, by)
    table = Table("sessions", "Claude Code sessions", _SESSION, rows, empty, note, f"-{by}")
    links = tuple(f"{each.session_id} {each.apikey_id}" for each in found)
    return Panel("sessions", table.title, table, links=links)


_AT = Column("start", "From", "at")
_OUTCOMES = {
    "completed": "Completed",
    "hung_up": "Hung up",
    "errors": "Errors",
    "abandoned": "Abandoned",
}
_SESSION = (
    Column("session_id", "Session", "text"),
    Column("key", "Key", "text"),
    Column("last_at", "Last heard of", "at"),
    Column("agents", "Agents"),
    Column("requests", "Requests"),
    Column("errors", "Errors"),
    Column("tokens", "Tokens"),
    Column("cost_nanousd", "Cost", "nanousd"),
)


def _kinds(
    filters: Filters,
    name: str,
    title: str,
    kinds: dict[str, str],
    kind: str,
    empty: str = NOTHING_USED,
) -> Panel:
    asked = tuple("requests" if measure == "completed" else measure for measure in kinds)
    found = series(
        filters.scope,
        filters.start,
        filters.end,
        filters.step,
        filters.zone,
        measures=asked,
        filters=filters.only,
    )
    values = dict(found.lines[0].values) if found.lines else {}
    if "completed" in kinds and values:
        others = [values[measure] for measure in kinds if measure != "completed"]
        steps = zip(values["requests"], *others, strict=True)
        values["completed"] = tuple(max(0, all_ - sum(rest)) for all_, *rest in steps)
    nothing = (0,) * len(found.starts)
    lines = [values.get(measure, nothing) for measure in kinds]
    columns = (_AT, *columns_of(list(kinds), list(kinds.values()), kind))
    table = Table(name, title, columns, _rows(found.starts, lines), empty)
    unit = "usd" if kind == "nanousd" else "count"
    return Panel(name, title, table, _drawn("stacked", unit, table, filters))


def _latency(filters: Filters, name: str, title: str, latency: Latency) -> Panel:
    step = Step.HOUR if filters.step is Step.QUARTER else filters.step
    found = percentiles(
        _of_key(filters),
        filters.start,
        filters.end,
        latency,
        step=step,
        zone=filters.zone,
        percents=PERCENTS,
        model=filters.only.get(Group.MODEL),
    )
    values = [found.values[percent] for percent in PERCENTS]
    rounded = [tuple(None if v is None else round(v) for v in line) for line in values]
    labels = ["Median", *(f"{percent} % are faster" for percent in PERCENTS[1:])]
    columns = columns_of([f"p{percent}_ms" for percent in PERCENTS], labels, "ms")
    counted = Column("requests", "Measured")
    rows = _rows(found.starts, [*rounded, found.counts])
    note = f"Out of histograms: off by {found.error_percent:.1f} % at most."
    empty = "No answer was measured in this span."
    table = Table(name, title, (_AT, *columns, counted), rows, empty, note)
    chart = _drawn("lines", "ms", table, filters, step)
    return Panel(
        name, title, table, Chart("lines", "ms", table, chart.labels, (1, 2, 3), chart.starts)
    )


def _of_key(filters: Filters) -> Scope:
    """Return the scope, of one key alone if the filters say so; latency knows few other filters."""
    known = {Group.KEY, Group.MODEL}
    if set(filters.only) - known:
        raise Unanswerable("Times are kept by key and model only: take the other filters out.")
    text = filters.only.get(Group.KEY)
    if text is None:
        return filters.scope
    wanted = frozenset({int(text)}) if is_id(text) else frozenset[int]()
    match filters.scope.holder:
        case Holder.EVERYTHING:
            return of_keys(wanted)
        case Holder.KEYS:
            return of_keys(wanted & filters.scope.ids)
        case _:
            raise Unanswerable("Times of one key are its owner's and the operators' to see.")


def _summed(line: Line, wanted: Sequence[str]) -> tuple[int, ...]:
    added = wanted if len(wanted) == 1 else wanted[1:]
    return tuple(map(sum, zip(*(line.values[measure] for measure in added), strict=True)))


def _rows(
    starts: Sequence[dt.datetime], lines: Sequence[Sequence[Cell]]
) -> tuple[tuple[Cell, ...], ...]:
    return tuple((at, *(line[n] for line in lines)) for n, at in enumerate(starts))


def _drawn(kind: str, unit: str, table: Table, filters: Filters, step: Step | None = None) -> Chart:
    hours = (step or filters.step) in (Step.QUARTER, Step.HOUR)
    one_day = filters.end - filters.start <= dt.timedelta(days=1)
    labelled = ("%H:%M" if one_day else "%a %d, %H:%M") if hours else "%d %b"
    return over_time(kind, unit, table, filters.end, labelled)


def _ranks(label: str) -> tuple[Column, ...]:
    return (
        Column(label.lower().replace(" ", "_"), label, "text"),
        Column("requests", "Requests"),
        Column("charged_tokens", "Tokens of budgets"),
        Column("cost_nanousd", "Cost", "nanousd"),
        Column("cost_before_nanousd", "Period before", "nanousd"),
    )


def _most_of(filters: Filters, name: str, known: Sequence[str]) -> str:
    """Return of what those who had most are listed: of what the table is sorted by, or of cost."""
    asked = filters.orders.get(name, "").removeprefix("-")
    return asked if asked in known else "cost_nanousd"


def _cut(rows: Sequence[object], most: int, columns: Sequence[Column], by: str) -> str:
    """Return what a list that may be longer says of who is in it."""
    label = next(column.label for column in columns if column.name == by)
    return f"These are the first {most} by {label.lower()}." if len(rows) == most else ""


def _all_tokens(used: Used) -> int:
    return sum(getattr(used, kind) for kind in TOKEN_KINDS)


PANELS: dict[str, tuple[str, Maker]] = {
    "use": ("Use over time", use),
    "tokens": ("Tokens by kind", tokens),
    "requests": ("Requests by outcome", requests),
    "saved": ("Saved by the response cache", saved),
    "first-byte": ("Time to first byte", first_byte),
    "total-time": ("Time to the last byte", total_time),
    "errors": ("Errors by type", errors),
    "top-key": ("Top by key", top_list("key")),
    "top-team": ("Top by team", top_list("team")),
    "top-model": ("Top by model", top_list("model")),
    "top-client": ("Top by client", top_list("client")),
    "top-upstream": ("Top by upstream", top_list("upstream")),
    "sessions": ("Claude Code sessions", session_list),
}
# Nobody but operators is told of accounts upstream.
OPERATORS_ONLY = frozenset({"top-upstream"})
