"""Who may be the first of a span, out of the lists of its hours and days (`usage.heavy_hitters`).

What somebody is listed with is the least they used. They used at most the `rest` of the other lists
more, and whoever is in no list at most that of all. So few are left to add up, and it is known when
somebody else could be among them: then everybody is added up, as if there were no lists.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usage import heavy_hitters, replica
from usage.heavy_hitters import EVERYBODY, GRAINS, RANKED, STORED, WHOLE
from usage.reading.instants import LENGTHS, Piece, pieces
from usage.reading.question import Group, Span
from usage.reading.scope import Holder, Scope
from usage.reading.source import Source, largest

# More take longer to add up one by one than they save.
CANDIDATES_MAX = 1_000

_HOLDERS = {Group.KEY: "k", Group.TEAM: "t"}
_GOOD = f"""
SELECT made.at, made.rest[%s], made.ids, made.{{by}}
FROM usage_heavyhitters AS made
JOIN usage_grouprollup AS everybody
    ON everybody.grain = made.grain AND {EVERYBODY} AND everybody.at = made.at
        AND made.whole = {WHOLE}
WHERE made.holder = %s AND made.grain = %s AND made.at >= %s AND made.at < %s
ORDER BY 1
"""


@dataclass(slots=True)
class _Bounds:
    """The least that each used, by id, and the most that anybody used beyond it."""

    least: Counter[int]
    rest: int = 0


def candidates(
    scope: Scope,
    group_by: Group,
    filters: Mapping[Group, str] | None,
    source: Source,
    span: Span,
    by: str,
    most: int,
) -> list[str] | None:
    """Return the ids of some among whom are the `most` that used most, `None` if nobody knows.

    Of everybody's keys or teams alone are there lists. Where several used alike, which of them are
    returned is left open.
    """
    if scope.holder is not Holder.EVERYTHING or filters:
        return None
    if group_by not in _HOLDERS or by not in RANKED:
        return None
    bounds, holder = _Bounds(Counter()), _HOLDERS[group_by]
    unlisted: list[Piece] = []
    for part in pieces(span, "dhq"):
        if part.grain in GRAINS[holder]:
            unlisted += _read(part, holder, by, bounds)
        else:
            unlisted.append(part)
    if unlisted:
        _add_up(source, unlisted, by, bounds)
    return _first(bounds, most)


def _read(part: Piece, holder: str, by: str, bounds: _Bounds) -> list[Piece]:
    """Add what the lists of a piece say; return what they do not cover."""
    values = (RANKED.index(by) + 1, holder, part.grain, part.start, part.end)
    with replica.cursor() as cursor:
        cursor.execute(_GOOD.format(by=by), values)
        found = cursor.fetchall()
    for _at, rest, ids, amounts in found:
        bounds.rest += rest
        for held, amount in zip(ids, amounts, strict=True):
            bounds.least[held] += amount
    return _gaps(part, [at for at, *_ in found])


def _gaps(part: Piece, listed: Sequence[dt.datetime]) -> list[Piece]:
    """Return what lies between the slots that begin at `listed`, as rows that are stored."""
    found, reached = [], part.start
    for at in [*listed, part.end]:
        if reached < at:
            found.append(Piece(STORED[part.grain], reached, at))
        reached = at + LENGTHS[part.grain]
    return found


def _add_up(source: Source, unlisted: Sequence[Piece], by: str, bounds: _Bounds) -> None:
    """Add who used most of what no list covers."""
    found = largest(source, unlisted, (by,), heavy_hitters.LISTED)
    amounts = [sums[by] for sums in found.values()]
    for name, amount in zip(found, amounts, strict=True):
        bounds.least[int(name)] += amount
    if len(amounts) == heavy_hitters.LISTED:
        bounds.rest += max(0, amounts[-1])


def _first(bounds: _Bounds, most: int) -> list[str] | None:
    ranked = sorted((-least, str(held)) for held, least in bounds.least.items())
    if not bounds.rest:
        return [name for _least, name in ranked[:most]]  # Nobody used any more than that.
    bar = -ranked[most - 1][0] if len(ranked) >= most else 0
    if bounds.rest >= bar:
        return None
    found = [name for least, name in ranked if bounds.rest - least >= bar]
    return found if len(found) <= CANDIDATES_MAX else None
