"""Whether the ledger is behind."""

import datetime as dt

from django.conf import settings
from django.db.models import Q
from redis import RedisError

from operators.alerts.core import rules
from operators.alerts.core.rules import Finding, Kind, Subject
from operators.alerts.raising import alerts_raise, alerts_resolve
from usage.core.figures import duration
from usage.ledger import drain_lag


def look_at_drain(now: dt.datetime) -> None:
    """Raise an alert if the ledger is behind."""
    try:
        lag_s = drain_lag()
    except RedisError:
        return
    findings = []
    if lag_s > settings.DRAIN_LAG_S_MAX:
        text = f"The ledger is {duration(lag_s)} behind. Nothing is lost; figures are that old."
        slot = rules.hour_of(now)
        findings.append(Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", slot, text))
    alerts_resolve(Kind.DRAIN, Q(), rules.keys_of(findings), now)
    alerts_raise(findings, now)
