"""Keys that expire soon, and those that were given more time.

When a key has expired nobody is told that it is over: it came as it was announced.
"""

import datetime as dt
from collections.abc import Iterator

from django.utils import timezone

from keys.models import ApiKey
from operators.alerts.core import rules
from operators.alerts.core.rules import Kind
from operators.alerts.models import Alert
from operators.alerts.raising import alerts_end, alerts_raise

EXPIRING_MAX = 2_000
CHUNK = 300


def look_at_expiring(now: dt.datetime | None = None) -> None:
    """Raise alerts of keys that expire within a week, and resolve those that do not any more."""
    at = now or timezone.now()
    most = at + max(rules.EXPIRY_DAYS) * rules.DAY
    live = ApiKey.objects.filter(revoked_at=None, disabled_at=None)
    soon = live.filter(expires_at__gt=at, expires_at__lte=most).order_by("expires_at")
    findings = [
        finding
        for key in soon.only("name", "team", "expires_at")[:EXPIRING_MAX]
        if key.expires_at is not None
        for finding in rules.expiry_findings(key.pk, key.name, key.team_id, key.expires_at, at)
    ]
    # First, so that a key that got another date can be raised with it.
    _resolve_extended(at)
    alerts_raise(findings, at)


def _resolve_extended(now: dt.datetime) -> None:
    for alerts in _chunks():
        found = ApiKey.objects.filter(pk__in=[alert.subject_id for alert in alerts]).order_by()
        keys = {row.pk: row for row in found}
        over = [alert for alert in alerts if not _still(alert, keys.get(alert.subject_id))]
        for expired in (False, True):
            pks = [alert.pk for alert in over if (alert.slot <= now) is expired]
            alerts_end(Alert.objects.filter(pk__in=pks), now, told=not expired)


def _still(alert: Alert, key: ApiKey | None) -> bool:
    return key is not None and key.status == "active" and key.expires_at == alert.slot


def _chunks() -> Iterator[list[Alert]]:
    rows = list(Alert.objects.filter(kind=Kind.EXPIRING, resolved_at=None).order_by("id"))
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
