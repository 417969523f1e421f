"""The one place where price rows become the price book that exchanges are charged by."""

import datetime as dt

from django.conf import settings

from usage import models
from usage.core.price import Price, PriceBook

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def load_price_book() -> PriceBook:
    """Return every price there is. Synchronous, one query; whoever calls it keeps the book."""
    prices = tuple(_price(row) for row in models.Price.objects.order_by("pk"))
    return PriceBook(prices, settings.FAST_PERCENT)


def _price(row: models.Price) -> Price:
    return Price(
        model=row.model_id,
        # Whole arithmetic: a float of seconds would be a millisecond off now and then.
        starts_at_ms=(row.starts_at - _EPOCH) // dt.timedelta(milliseconds=1),
        prompt_tokens_min=row.prompt_tokens_min,
        input_nanousd=row.input_nanousd,
        output_nanousd=row.output_nanousd,
        cache_creation_nanousd=row.cache_creation_nanousd,
        cache_creation_1h_nanousd=row.cache_creation_1h_nanousd,
        cache_read_nanousd=row.cache_read_nanousd,
        web_search_nanousd=row.web_search_nanousd,
        us_percent=row.us_percent,
    )
