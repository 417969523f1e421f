"""Every write of people to `usage`: prices. The ledger and its roll-up are the drain's alone."""

import datetime as dt
from functools import partial
from typing import TypedDict

from django.contrib.auth.models import User
from django.db import transaction

from keys import audit, invalidation
from keys.changes import apply
from keys.models import ClaudeModel
from usage.models import Price


class PriceFields(TypedDict, total=False):
    """The fields of a price; amounts in nano-dollars, as `usage.models.Price` has them."""

    model: ClaudeModel
    starts_at: dt.datetime
    prompt_tokens_min: int
    input_nanousd: int
    output_nanousd: int
    cache_creation_nanousd: int
    cache_creation_1h_nanousd: int
    cache_read_nanousd: int
    web_search_nanousd: int
    us_percent: int


@transaction.atomic
def price_set(
    *,
    price: Price | None,
    fields: PriceFields,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Price:
    """Change fields of `price`, or make a new one if there is none, and return it as stored.

    What was charged already stays as it was. A change of nothing leaves no trace. Raises
    `ValidationError` for what cannot be stored.
    """
    stored = Price.objects.select_for_update().get(pk=price.pk) if price else Price()
    changed = apply(stored, fields)
    if not changed:
        return stored
    if price is None:
        stored.full_clean()
    stored.save()
    action = "price.update" if price else "price.create"
    detail = {"price": str(stored)} | changed
    audit.record(action, stored, acting_user, acting_address, detail)
    # After commit: a gateway that rereads sooner would cache the old prices.
    transaction.on_commit(partial(invalidation.publish, invalidation.EVERYTHING))
    return stored
