"""Looks for what is worth an alert: keys in use, their budgets and spend, accounts, the drain."""

import datetime as dt

from django.utils import timezone

from operators.alerts.looking.drain import look_at_drain
from operators.alerts.looking.expiring import look_at_expiring
from operators.alerts.looking.keys import look_at_keys
from operators.alerts.looking.upstreams import look_at_upstreams
from operators.alerts.raising import alerts_forget

__all__ = ["look", "look_at_expiring"]


def look(now: dt.datetime | None = None) -> None:
    """Raise and resolve alerts of budgets, spend, accounts and the drain."""
    at = now or timezone.now()
    look_at_drain(at)
    look_at_upstreams(at)
    look_at_keys(at)
    alerts_forget(at)
