"""Prices in whole nano-dollars a token, by model, start and prompt length. Nothing rounds down.

1 USD per million tokens is 1,000 nano-dollars per token, so any list price with three decimals
is a whole number and a product of counts and rates is exact.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from keys.core.access import undated
from usage.core.tokens import TokenUsage

NANOUSD_PER_USD = 1_000_000_000
TOKEN_RATES = (
    "input_nanousd",
    "output_nanousd",
    "cache_creation_nanousd",
    "cache_creation_1h_nanousd",
    "cache_read_nanousd",
)
# What Anthropic took for the first models with fast mode.
FAST_PERCENT = 600


@dataclass(frozen=True, slots=True)
class Price:
    """Rates in force for `model` from `starts_at_ms` for prompts of at least `prompt_tokens_min`.

    `us_percent` multiplies the token rates when upstream says `inference_geo: us`; 100 changes
    nothing.
    """

    model: str
    starts_at_ms: int
    prompt_tokens_min: int
    input_nanousd: int
    output_nanousd: int
    cache_creation_nanousd: int
    cache_creation_1h_nanousd: int
    cache_read_nanousd: int
    web_search_nanousd: int
    us_percent: int = 100

    def at_percent(self, percent: int) -> "Price":
        """Return the price with each token at that many percent; searches stay what they cost."""
        rates: dict[str, Any] = {
            name: _percent(getattr(self, name), percent) for name in TOKEN_RATES
        }
        return replace(self, **rates)

    @property
    def input_nanousd_max(self) -> int:
        """The dearest way a prompt token can be billed."""
        rates = (
            self.input_nanousd,
            self.cache_creation_nanousd,
            self.cache_creation_1h_nanousd,
            self.cache_read_nanousd,
        )
        return _percent(max(rates), self.us_percent)

    @property
    def output_nanousd_max(self) -> int:
        """The dearest way an output token can be billed."""
        return _percent(self.output_nanousd, self.us_percent)


def nanousd_per_token(usd_per_mtok: Decimal) -> int:
    """Turn the price an operator types into the rate we multiply by.

    Raises `ValueError` for a price finer than one nano-dollar per token.
    """
    exact = usd_per_mtok * 1000
    if exact != exact.to_integral_value():
        raise ValueError(f"{usd_per_mtok} USD/MTok is finer than one nano-dollar per token")
    return int(exact)


def _percent(amount: int, percent: int) -> int:
    return -(-amount * percent // 100)


@dataclass(frozen=True, slots=True)
class _PriceList:
    """The prices of one model that start together: one for each band, by where the bands begin."""

    bands: tuple[int, ...]
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class _PriceLists:
    """The price lists of one model, by their starts."""

    starts: tuple[int, ...]
    lists: tuple[_PriceList, ...]


@dataclass(frozen=True)
class PriceBook:
    """Every price there is. A model without one costs as the dearest known, never nothing.

    `fast_percent` is what tokens of `speed: fast` cost, in percent of the others. An exchange asks
    twice, so a look-up is two bisections in an index that is made once.
    """

    prices: tuple[Price, ...]
    fast_percent: int = FAST_PERCENT

    def price(self, model: str, prompt_tokens: int, at_ms: int, *, fast: bool = False) -> Price:
        """Return the price of `model` in force at `at_ms` for a prompt of that length.

        A dated snapshot without a price of its own costs what its model does.
        Raises `LookupError` when the book has no price at all.
        """
        found = (
            self._in_force(model, prompt_tokens, at_ms)
            or self._in_force(undated(model), prompt_tokens, at_ms)
            or self._dearest(prompt_tokens, at_ms)
        )
        return found.at_percent(self.fast_percent) if fast else found

    @cached_property
    def _models(self) -> dict[str, _PriceLists]:
        models: dict[str, dict[int, list[Price]]] = {}
        for price in sorted(self.prices, key=lambda p: (p.starts_at_ms, p.prompt_tokens_min)):
            models.setdefault(price.model, {}).setdefault(price.starts_at_ms, []).append(price)
        return {model: _indexed(lists) for model, lists in models.items()}

    def _in_force(self, model: str, prompt_tokens: int, at_ms: int) -> Price | None:
        found = self._models.get(model)
        if found is None:
            return None
        # Bands of one price list share its start, so an old list's band never mixes with a new one.
        started = bisect_right(found.starts, at_ms)
        if not started:
            return None
        latest = found.lists[started - 1]
        band = bisect_right(latest.bands, prompt_tokens)
        return latest.prices[band - 1] if band else None

    def _dearest(self, prompt_tokens: int, at_ms: int) -> Price:
        known = [self._in_force(model, prompt_tokens, at_ms) for model in self._models]
        found = [price for price in known if price is not None] or list(self.prices)
        if not found:
            raise LookupError("no price in the book")
        return max(found, key=lambda p: p.output_nanousd_max + p.input_nanousd_max)


def _indexed(lists: dict[int, list[Price]]) -> _PriceLists:
    """Index prices by start; starts, and the bands in each, are in order already."""
    return _PriceLists(
        tuple(lists),
        tuple(
            _PriceList(tuple(price.prompt_tokens_min for price in bands), tuple(bands))
            for bands in lists.values()
        ),
    )


def cost_nanousd(usage: TokenUsage, price: Price) -> int:
    """Return what `usage` costs at `price`, in nano-dollars, rounded up once at the end."""
    # Never negative: a part reported as larger than its whole must not make the rest cheaper.
    cache_creation_5m = max(
        0, usage.cache_creation_input_tokens - usage.cache_creation_1h_input_tokens
    )
    tokens = (
        usage.input_tokens * price.input_nanousd
        + usage.output_tokens * price.output_nanousd
        + cache_creation_5m * price.cache_creation_nanousd
        + usage.cache_creation_1h_input_tokens * price.cache_creation_1h_nanousd
        + usage.cache_read_input_tokens * price.cache_read_nanousd
    )
    percent = price.us_percent if usage.inference_geo == "us" else 100
    return _percent(tokens, percent) + usage.web_search_requests * price.web_search_nanousd


@dataclass(frozen=True, slots=True)
class CostLine:
    """One kind of thing that was used, how much of it, and what each costs."""

    what: str
    count: int
    rate_nanousd: int


def cost_lines(usage: TokenUsage, price: Price) -> list[CostLine]:
    """Return what `cost_nanousd` adds up, before the factor on US inference; nothing of zero."""
    longer = usage.cache_creation_1h_input_tokens
    shorter = max(0, usage.cache_creation_input_tokens - longer)
    lines = (
        CostLine("input tokens", usage.input_tokens, price.input_nanousd),
        CostLine("output tokens", usage.output_tokens, price.output_nanousd),
        CostLine("5-minute cache writes", shorter, price.cache_creation_nanousd),
        CostLine("1-hour cache writes", longer, price.cache_creation_1h_nanousd),
        CostLine("cache reads", usage.cache_read_input_tokens, price.cache_read_nanousd),
        CostLine("web searches", usage.web_search_requests, price.web_search_nanousd),
    )
    return [line for line in lines if line.count]


def humane_usd(amount_nanousd: int) -> str:
    """Return dollars as people read them: `$1,234.50`, `$0.0123`, `<$0.0001`; rounds."""
    if 0 < amount_nanousd < NANOUSD_PER_USD // 10_000:
        return "<$0.0001"
    decimals = 2 if amount_nanousd == 0 or amount_nanousd >= NANOUSD_PER_USD else 4
    return f"${Decimal(amount_nanousd) / NANOUSD_PER_USD:,.{decimals}f}"
