"""How the cost of one ledger entry came about, line by line, for its page."""

import datetime as dt
from dataclasses import fields
from typing import Any
from uuid import UUID

from django.urls import reverse

from keys.core.budget import format_usd
from usage.core import price as core
from usage.core.event import CacheOutcome
from usage.core.tokens import TokenUsage
from usage.models import LedgerEntry, Price
from usage.prices import load_price_book


def costing(entry: LedgerEntry) -> dict[str, Any]:
    """Return what the page of `entry` says of its cost."""
    charged = f"{format_usd(entry.cost_nanousd)} USD"
    if entry.cache == CacheOutcome.HIT:
        first = entry.cost_nanousd + entry.saved_nanousd
        saved = f"{format_usd(entry.saved_nanousd)} USD"
        return {
            "hit": True,
            "first": f"{format_usd(first)} USD",
            "saved": saved,
            "charged": charged,
        }
    usage = TokenUsage(**{f.name: getattr(entry, f.name) for f in fields(TokenUsage)})
    at_ms = int(entry.admitted_at.timestamp() * 1000)
    price = load_price_book().price(entry.model_requested, usage.prompt_tokens, at_ms)
    total = core.cost_nanousd(usage, price)
    in_us = usage.inference_geo == "us" and price.us_percent != 100
    return {
        "price": _name(price),
        "price_url": _url(price),
        "lines": [
            {
                "what": line.what,
                "count": f"{line.count:,}",
                "rate": f"{line.rate_nanousd:,}",
                "amount": format_usd(line.count * line.rate_nanousd),
            }
            for line in core.cost_lines(usage, price)
        ],
        "us_percent": price.us_percent if in_us else None,
        "total": f"{format_usd(total)} USD",
        "charged": charged,
        "differs": total != entry.cost_nanousd,
    }


def source_url(entry: LedgerEntry) -> str:
    """Return the page of the exchange whose answer this one was given, "" if it is not there."""
    try:
        exchange_id = UUID(entry.cache_source.removeprefix("req_"))
    except ValueError:
        return ""
    if not LedgerEntry.objects.filter(pk=exchange_id).exists():
        return ""
    return reverse("admin:usage_ledgerentry_change", args=[exchange_id])


def _name(price: core.Price) -> str:
    since = dt.datetime.fromtimestamp(price.starts_at_ms / 1000, dt.UTC)
    band = f", prompts from {price.prompt_tokens_min:,} tokens" if price.prompt_tokens_min else ""
    return f"Price of {price.model} from {since:%Y-%m-%d}{band}"


def _url(price: core.Price) -> str:
    since = dt.datetime.fromtimestamp(price.starts_at_ms / 1000, dt.UTC)
    row = Price.objects.filter(
        model=price.model, prompt_tokens_min=price.prompt_tokens_min, starts_at=since
    ).first()
    return reverse("admin:usage_price_change", args=[row.pk]) if row else ""
