"""What one key used, out of the hourly roll-up. Synchronous; called off the event loop."""

import datetime as dt
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from usage.core.price import NANOUSD_PER_USD
from usage.models import HourlyRollup

# A key uses a handful of models; snapshots and slips are in the totals all the same.
MODELS_MAX = 50


def usage_of(apikey_id: int, days: int) -> dict[str, Any]:
    """Return what the key used in the last `days` times 24 hours, the dearest model first."""
    since = timezone.now() - dt.timedelta(days=days)
    rows = (
        HourlyRollup.objects.filter(apikey_id=apikey_id, hour__gte=since)
        .order_by()
        .values("model")
        .annotate(asked=Sum("requests"), tokens=Sum("charged_tokens"), nanousd=Sum("cost_nanousd"))
    )
    models = sorted(rows, key=lambda row: (-row["nanousd"], row["model"]))
    return {
        "days": days,
        "requests": sum(row["asked"] for row in models),
        "charged_tokens": sum(row["tokens"] for row in models),
        "cost_usd": sum(row["nanousd"] for row in models) / NANOUSD_PER_USD,
        "by_model": [
            {
                "model": row["model"],
                "requests": row["asked"],
                "charged_tokens": row["tokens"],
                "cost_usd": row["nanousd"] / NANOUSD_PER_USD,
            }
            for row in models[:MODELS_MAX]
        ],
    }
