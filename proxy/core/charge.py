"""What an answer costs when more than one model had a hand in it. Knows no store and no stream.

Upstream may let another model stand in for the one that was asked (`fallbacks`), seek the advice of
a dearer one (an `advisor` tool), or write faster for more money (`speed`). Whatever it does not
tell apart is charged as the dearest that it may have been.
"""

from collections.abc import Iterable
from dataclasses import replace

from proxy.core.meter import Metered
from proxy.core.request import MessagesRequest
from usage.core.price import Price, PriceBook, cost_nanousd

FAST = "fast"


def price_ahead(
    prices: PriceBook, request: MessagesRequest, model: str, prompt_tokens: int, at_ms: int
) -> Price:
    """Return the price to hold for an answer by `model`, or by a model that may stand in for it."""
    return max(
        _each(prices, (model, *request.fallbacks), prompt_tokens, at_ms, fast=request.fast),
        key=lambda price: price.output_nanousd_max + price.input_nanousd_max,
    )


def cost_of(
    prices: PriceBook, request: MessagesRequest, model: str, metered: Metered, at_ms: int
) -> int:
    """Return what the answer to a request for `model` costs, in nano-dollars."""
    fast = metered.speed == FAST if metered.speed else request.fast
    named = (metered.stood_in,) if metered.itemized else request.fallbacks
    usage = metered.usage
    cost = max(
        cost_nanousd(usage, price)
        for price in _each(prices, (model, *filter(None, named)), usage.prompt_tokens, at_ms, fast)
    )
    for other, beside in metered.beside:
        price = prices.price(other or model, beside.prompt_tokens, at_ms, fast=fast and not other)
        cost += cost_nanousd(replace(beside, inference_geo=usage.inference_geo), price)
    return cost


def _each(
    prices: PriceBook, models: Iterable[str], prompt_tokens: int, at_ms: int, fast: bool
) -> list[Price]:
    return [prices.price(model, prompt_tokens, at_ms, fast=fast) for model in models]
