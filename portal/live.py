"""What the gateway is set to at this moment, as Markdown: models, prices, lifetimes, limits.

Read from the catalogue at most every few seconds. Without Postgres the tables are the last that
were read, and say so.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from keys.models import ClaudeModel
from portal.answer_headers import ANSWER_HEADERS
from portal.remembered import Remembered
from portal.stores import postgres_answers
from proxy.core.cache_entry import TTL_FACTORS, ttl_s
from usage.core.figures import duration
from usage.core.price import Price
from usage.prices import load_price_book

AGE_S_MAX = 5.0
# Words of the published documentation.
_GOOD_FOR = (
    ("opus", "Maximum intelligence, complex reasoning"),
    ("sonnet", "Balanced speed and capability"),
    ("haiku", "Ultra-fast, cost-effective"),
)
_AWAY = "> These figures cannot be read just now: the database of this gateway does not answer.\n"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models on offer and all prices, as read at `read_at`; `None`: never yet."""

    models: tuple[ClaudeModel, ...] = ()
    prices: tuple[Price, ...] = ()
    read_at: dt.datetime | None = None
    current: bool = False


class Reading:
    """Reads the catalogue, and keeps what it read for when it cannot."""

    def __init__(self) -> None:
        self._last = Catalogue()

    def __call__(self) -> Catalogue:
        if not postgres_answers():
            return self._stale()
        try:
            models = tuple(ClaudeModel.objects.filter(enabled=True))
            prices = load_price_book().prices
        except DatabaseError as error:
            logger.warning("the catalogue cannot be read: %s", type(error).__name__)
            return self._stale()
        self._last = Catalogue(models, prices, timezone.now(), current=True)
        return self._last

    def _stale(self) -> Catalogue:
        return replace(self._last, current=False)


catalogue = Remembered(Reading(), AGE_S_MAX)


def tables() -> Mapping[str, str]:
    """Return all tables by name, each as Markdown."""
    return tables_of(catalogue())


def tables_of(found: Catalogue) -> Mapping[str, str]:
    """Return the same of a catalogue that was read before."""
    return {
        "models": _read_from(found, _models(found.models)),
        "prices": _read_from(found, _prices(found)),
        "cache-ttl": _read_from(found, _lifetimes(found.models)),
        "limits": _limits(),
        "headers": _table(("Header", "Says"), ((f"`{h.name}`", h.meaning) for h in ANSWER_HEADERS)),
    }


def _read_from(found: Catalogue, table: str) -> str:
    if found.read_at is None:
        return _AWAY
    if found.current:
        return table
    return f"{table}\n> As of {found.read_at:%H:%M} UTC: the database does not answer just now.\n"


def _models(models: Sequence[ClaudeModel]) -> str:
    if not models:
        return "> This gateway offers no model yet.\n"
    rows = (
        (
            f"`{model.model_id}`",
            _good_for(model),
            f"{model.context_window_tokens:,} tokens",
            f"{model.output_tokens_max:,} tokens",
        )
        for model in models
    )
    return _table(("Model", "Good for", "Longest input", "Longest answer"), rows)


def _good_for(model: ClaudeModel) -> str:
    return next((words for name, words in _GOOD_FOR if name in model.model_id), model.display_name)


def _prices(found: Catalogue) -> str:
    offered = [model.model_id for model in found.models]
    rows = [price for price in _in_force(found.prices) if price.model in offered]
    if not rows:
        return "> No price is set.\n"
    rows.sort(key=lambda price: (offered.index(price.model), price.prompt_tokens_min))
    names = ("Model", "Input", "Output", "Cache write, 5 min", "Cache write, 1 h", "Cache read")
    table = _table(names, (_price_cells(price) for price in rows))
    searches = {price.web_search_nanousd for price in rows if price.web_search_nanousd}
    for nanousd in sorted(searches):
        table += f"\nA web search costs ${nanousd / 1_000_000:g} for a thousand.\n"
    return table


def _price_cells(price: Price) -> tuple[str, ...]:
    longer = f", prompts from {price.prompt_tokens_min:,}" if price.prompt_tokens_min else ""
    rates = (
        price.input_nanousd,
        price.output_nanousd,
        price.cache_creation_nanousd,
        price.cache_creation_1h_nanousd,
        price.cache_read_nanousd,
    )
    return (f"`{price.model}`{longer}", *(_usd_per_mtok(rate) for rate in rates))


def _usd_per_mtok(nanousd: int) -> str:
    dollars = nanousd / 1000
    return f"${dollars:.2f}" if nanousd % 10 == 0 else f"${dollars:.3f}"


def _in_force(prices: Iterable[Price]) -> list[Price]:
    """Return of each model the bands of the newest list that has begun."""
    now_ms = time.time() * 1000
    begun = [price for price in prices if price.starts_at_ms <= now_ms]
    newest: dict[str, int] = {}
    for price in begun:
        newest[price.model] = max(newest.get(price.model, 0), price.starts_at_ms)
    return [price for price in begun if price.starts_at_ms == newest[price.model]]


def _lifetimes(models: Sequence[ClaudeModel]) -> str:
    if not models:
        return "> This gateway offers no model yet.\n"
    lengths = [0, *sorted(least for least, _factor in TTL_FACTORS)]
    names = ["Prompt tokens", *(f"`{model.model_id}`" for model in models)]
    rows = (
        (
            f"from {least:,}" if least else f"under {lengths[1]:,}",
            *(_lifetime(model.cache_ttl_s, least) for model in models),
        )
        for least in lengths
    )
    return _table(names, rows)


def _lifetime(base_s: int, prompt_tokens: int) -> str:
    return duration(ttl_s(base_s, prompt_tokens)) if base_s else "not kept"


def _limits() -> str:
    weight = settings.CACHE_READ_WEIGHT_PERCENT
    rows = (
        ("Size of a request", f"{settings.BODY_BYTES_MAX / 2**20:g} MiB"),
        ("Token counts", f"{settings.COUNT_TOKENS_RPM:,} a minute for each key"),
        ("A token read from a cache counts", f"{weight} % of a token"),
        ("Longest time of one answer", duration(settings.EXCHANGE_SECONDS_MAX)),
        ("Longest silence of a stream", f"{duration(settings.PING_AFTER_S)}, then a `ping`"),
    )
    return _table(("What", "Limit"), rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    body = [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    return "\n".join([*head, *body]) + "\n"


def _cell(text: str) -> str:
    # A bar in what an operator typed would begin another cell.
    return text.replace("|", "\\|")
