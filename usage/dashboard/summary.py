"""The figures at the top: what was used, against the period before, and where the month ends."""

from dataclasses import dataclass

from usage.core.figures import change, percent
from usage.core.price import humane_usd
from usage.dashboard.filters import Filters
from usage.dashboard.panels import TOKEN_KINDS
from usage.dashboard.tables import headline, usd
from usage.prices import load_price_book
from usage.reading.forecast import forecast
from usage.reading.question import Group, Unanswerable
from usage.reading.totals import Compared, top, totals

# More models than any gateway serves.
MODELS_MAX = 100
BEFORE = "against the period before"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: as people read it, exactly, and what it is to be compared with."""

    name: str
    figure: str
    exact: str
    note: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The tiles, or why there are none; `nothing` says that nothing at all was used."""

    tiles: tuple[Tile, ...] = ()
    problem: str = ""
    nothing: bool = False


def summary(filters: Filters) -> Summary:
    """Return the figures for these filters."""
    try:
        sums = totals(filters.scope, filters.start, filters.end, filters=filters.only)
        tiles = [*_sums(sums), _caches(filters, sums)]
        if not filters.only:
            tiles.append(_month(filters))
    except Unanswerable as error:
        return Summary(problem=str(error))
    return Summary(tuple(tiles), nothing=not sums.now["requests"] and not sums.before["requests"])


def _sums(sums: Compared) -> list[Tile]:
    now, before = sums.now, sums.before
    tokens, tokens_before = _tokens(sums, "now"), _tokens(sums, "before")
    return [
        Tile(
            "Cost",
            humane_usd(now["cost_nanousd"]),
            f"${usd(now['cost_nanousd'])}",
            _moved(now["cost_nanousd"], before["cost_nanousd"]),
        ),
        Tile("Tokens", headline("count", tokens), f"{tokens:,}", _moved(tokens, tokens_before)),
        Tile(
            "Requests",
            headline("count", now["requests"]),
            f"{now['requests']:,}",
            _moved(now["requests"], before["requests"]),
        ),
        Tile(
            "Errors",
            percent(now["errors"], now["requests"]),
            f"{now['errors']:,} of {now['requests']:,}",
            f"{percent(before['errors'], before['requests'])} in the period before",
        ),
    ]


def _caches(filters: Filters, sums: Compared) -> Tile:
    """Return what the gateway's cache saved, and what Anthropic's did at the prices of today."""
    saved = sums.now["saved_nanousd"]
    asked = sums.now["cache_hits"] + sums.now["cache_misses"]
    hits = f"{percent(sums.now['cache_hits'], asked)} answered by the gateway"
    theirs = _saved_upstream(filters)
    note = hits if theirs is None else f"{hits}; Anthropic's cache: {_signed(theirs)}"
    exact = f"Gateway's cache ${usd(saved)}; Anthropic's at the prices of today."
    return Tile("Saved by caches", _signed(saved + (theirs or 0)), exact, note)


def _saved_upstream(filters: Filters) -> int | None:
    """Return what reads cost less than plain input, less what writes cost more, at list prices."""
    kinds = (
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_1h_input_tokens",
    )
    try:
        models = top(
            filters.scope,
            filters.start,
            filters.end,
            Group.MODEL,
            by=kinds[0],
            most=MODELS_MAX,
            measures=kinds,
            filters=filters.only,
        )
    except Unanswerable:
        return None
    book, at_ms = load_price_book(), int(filters.end.timestamp() * 1000)
    if not book.prices:
        return None
    saved = 0
    for model in models:
        price = book.price(model.name, 0, at_ms)
        read, written, longer = (model.now[kind] for kind in kinds)
        saved += read * (price.input_nanousd - price.cache_read_nanousd)
        saved -= (written - longer) * (price.cache_creation_nanousd - price.input_nanousd)
        saved -= longer * (price.cache_creation_1h_nanousd - price.input_nanousd)
    return saved


def _month(filters: Filters) -> Tile:
    found = forecast(filters.scope, filters.zone)
    spent = humane_usd(found.spent_nanousd)
    if not found.days_known:
        note = f"{spent} so far; a forecast needs one full day"
        return Tile(f"{found.month:%B}", spent, f"${usd(found.spent_nanousd)}", note)
    low, high = humane_usd(found.low_nanousd), humane_usd(found.high_nanousd)
    note = f"{spent} so far; likely between {low} and {high}"
    likely = f"${usd(found.likely_nanousd)}, of {found.days_known} full days"
    return Tile(f"Forecast for {found.month:%B}", humane_usd(found.likely_nanousd), likely, note)


def _tokens(sums: Compared, which: str) -> int:
    return sum(getattr(sums, which)[kind] for kind in TOKEN_KINDS)


def _moved(now: int, before: int) -> str:
    return f"{change(now, before)} {BEFORE}"


def _signed(amount_nanousd: int) -> str:
    shown = humane_usd(abs(amount_nanousd))
    return f"−{shown}" if amount_nanousd < 0 else shown
