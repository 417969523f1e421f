"""Which roll-up answers a question, and the SQL that adds it up."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usage import replica
from usage.reading.instants import Piece
from usage.reading.question import MEASURES, Group, Unanswerable
from usage.reading.scope import Holder, Scope

_FACETS = (Group.MODEL, Group.UPSTREAM, Group.CLIENT, Group.ERROR)
_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Source:
    """A roll-up, the rows of it that count, and the column that tells groups apart.

    Quarters are read from `quarters` where the roll-up itself has none.
    """

    table: str
    grains: str
    where: str
    parameters: tuple[Any, ...]
    column: str = "''"
    quarters: "Source | None" = None

    def among(self, names: Sequence[str]) -> "Source":
        """Return the same of some groups alone."""
        numeric = self.column in ("apikey_id", "team_id")
        wanted = [int(name) for name in names] if numeric else list(names)
        kind = "bigint" if numeric else "text"
        return Source(
            self.table,
            self.grains,
            f"{self.where} AND {self.column} = ANY(%s::{kind}[])",
            (*self.parameters, wanted),
            self.column,
            self.quarters and self.quarters.among(names),
        )


def source_of(scope: Scope, group_by: Group | None, filters: Mapping[Group, str] | None) -> Source:
    """Return what answers for this scope, group and filters. Raises `Unanswerable`."""
    asked = dict(filters or {})
    if scope.holder is Holder.KEYS or Group.KEY in asked or group_by is Group.KEY:
        return _of_keys(scope, group_by, asked)
    return _of_groups(scope, group_by, asked)


def _of_keys(scope: Scope, group_by: Group | None, filters: dict[Group, str]) -> Source:
    where, parameters = _held(scope)
    for group, value in filters.items():
        where.append(f"{_COLUMNS[group]} = %s")
        parameters.append(_number(value) if group in (Group.KEY, Group.TEAM) else value)
    if group_by in _FACETS:
        where.append(f"{_COLUMNS[group_by]} <> ''")
    if group_by is Group.TEAM:
        where.append("team_id > 0")
    told_apart = {*filters, group_by} & set(_FACETS)
    return Source(
        "usage_keyrollup",
        "dq" if told_apart else "mdq",
        " AND ".join(where) or "true",
        tuple(parameters),
        _COLUMNS[group_by] if group_by else "''",
    )


def _of_groups(scope: Scope, group_by: Group | None, filters: dict[Group, str]) -> Source:
    facets = {group for group in (*filters, group_by) if group in _FACETS}
    if len(facets) > 1:
        raise Unanswerable(
            "Only one of model, upstream, client and error type can be told apart at a time,"
            " unless you ask for one key."
        )
    facet = next(iter(facets), None)
    where, parameters = ["facet = %s"], [facet.value if facet else ""]
    teams = _teams(scope, filters)
    if teams is not None:
        where.append("team_id = ANY(%s::bigint[])")
        parameters.append(teams)
    else:
        where.append("team_id > 0" if group_by is Group.TEAM else "team_id = 0")
    if facet in filters:
        where.append("value = %s")
        parameters.append(filters[facet])
    column = {None: "''", Group.TEAM: "team_id"}.get(group_by, "value")
    of_teams = teams is not None or group_by is Group.TEAM
    return Source(
        "usage_grouprollup",
        "dq" if of_teams else "dhq",
        " AND ".join(where),
        tuple(parameters),
        column,
        _of_keys(scope, group_by, filters) if of_teams else None,
    )


def _held(scope: Scope) -> tuple[list[str], list[Any]]:
    if scope.holder is Holder.EVERYTHING:
        return [], []
    column = "apikey_id" if scope.holder is Holder.KEYS else "team_id"
    return [f"{column} = ANY(%s::bigint[])"], [sorted(scope.ids)]


def _teams(scope: Scope, filters: Mapping[Group, str]) -> list[int] | None:
    """Return the teams that count, `None` for everything."""
    if Group.TEAM not in filters:
        return None if scope.holder is Holder.EVERYTHING else sorted(scope.ids - {0})
    wanted = _number(filters[Group.TEAM])
    seen = wanted > 0 and (scope.holder is Holder.EVERYTHING or wanted in scope.ids)
    return [wanted] if seen else []


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= _BIGINT_MAX):
        raise Unanswerable("Keys and teams are named by their ids.")
    return int(text)


_COLUMNS = {
    Group.KEY: "apikey_id",
    Group.TEAM: "team_id",
    Group.MODEL: "model",
    Group.UPSTREAM: "upstream",
    Group.CLIENT: "client",
    Group.ERROR: "error_type",
}


def checked(measures: Sequence[str]) -> tuple[str, ...]:
    """Return the measures, each once. Raises `Unanswerable` for one that there is not."""
    for name in measures:
        if name not in MEASURES:
            raise Unanswerable(f"There is no measure called {name[:50]!r}.")
    return tuple(dict.fromkeys(measures)) or ("requests",)


def sums(
    source: Source, parts: Sequence[Piece], measures: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return the sums of each group in the pieces, by the group's name."""
    return _named(_run(source, parts, measures, "0", ()), measures)


def largest(
    source: Source, parts: Sequence[Piece], measures: Sequence[str], most: int
) -> dict[str, dict[str, int]]:
    """Return the same of the `most` groups of which the first measure was largest, those first.

    Of two that are alike the one comes first whose name does; groups of nothing are left out.
    """
    used = " OR ".join(f"sum({name}) <> 0" for name in measures)
    # By the letters' numbers, as everywhere else, not as a language has them.
    some = f'HAVING {used} ORDER BY 3 DESC, part.name::text COLLATE "C" LIMIT {int(most)}'
    return _named(_run(source, parts, measures, "0", (), some), measures)


def sums_by_step(
    source: Source,
    parts: Sequence[Piece],
    measures: Sequence[str],
    starts: Sequence[dt.datetime],
) -> list[tuple[int, str, list[int]]]:
    """Return place of the step, name of the group, and sums, where there is anything."""
    rows = _run(source, parts, measures, "width_bucket(at, %s::timestamptz[])", (list(starts),))
    # What began before the first step began in the quarter of it that was cut.
    return [(max(0, place - 1), name, amounts) for place, name, *amounts in rows]


def _named(rows: Sequence[tuple[Any, ...]], measures: Sequence[str]) -> dict[str, dict[str, int]]:
    return {name: dict(zip(measures, amounts, strict=True)) for _, name, *amounts in rows}


def _run(
    source: Source,
    parts: Sequence[Piece],
    measures: Sequence[str],
    place: str,
    place_parameters: tuple[Any, ...],
    some: str = "",
) -> list[tuple[Any, ...]]:
    if not parts:
        return []
    added = ", ".join(f"sum({name})::bigint AS {name}" for name in measures)
    statements, parameters = [], []
    for part in parts:
        read = (part.grain == "q" and source.quarters) or source
        # Told apart as the column is stored: a million numbers are faster to tell apart than texts.
        statements.append(
            f"""SELECT {place} AS place, {read.column} AS name, {added}
            FROM {read.table} WHERE {read.where} AND grain = %s AND at >= %s AND at < %s
            GROUP BY 1, 2"""
        )
        parameters += [*place_parameters, *read.parameters, part.grain, part.start, part.end]
    whole = f"({' UNION ALL '.join(statements)}) AS part"
    with replica.cursor() as cursor:
        cursor.execute(
            f"SELECT place, name::text, {added} FROM {whole} GROUP BY place, part.name {some}",
            parameters,
        )
        return cursor.fetchall()
