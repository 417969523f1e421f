"""Goes through the keys in use, page by page.

Work is bounded: budgets and spend are looked at for keys that were used in this hour or the last,
and for those with an open alert, until the time is up; the next look goes on from there.
"""

import datetime as dt
import time
from collections.abc import Sequence

from django.core.cache import cache

from keys.models import ApiKey
from operators.alerts.core import rules
from operators.alerts.core.rules import Kind, Subject
from operators.alerts.looking.budgets import look_at_budgets, look_at_open_teams
from operators.alerts.looking.spend import look_at_spend
from operators.alerts.models import Alert
from operators.alerts.raising import alerts_end
from usage.models import HourlyRollup

PAGE = 300
# A look comes every minute; half of one leaves the worker's threads to the drain.
SECONDS_MAX = 30.0
# Of open alerts whose subjects may be gone, so many are looked at.
OPEN_MAX = 2_000
AFTER = "alerts:after"


def look_at_keys(now: dt.datetime) -> None:
    """Look at budgets and spend of the keys in use, from where the last look had to stop."""
    ends = time.monotonic() + SECONDS_MAX
    after = cache.get(AFTER, 0)
    while page := _page(after, now):
        _look_at(page, now)
        after = page[-1] if len(page) == PAGE else 0
        if after == 0 or time.monotonic() > ends:
            break
    else:
        after = 0
    cache.set(AFTER, after, timeout=None)
    _resolve_gone(now)
    look_at_open_teams(now)


def _page(after: int, now: dt.datetime) -> list[int]:
    """Return ids of the next keys in use or with an open alert, in order."""
    since = rules.hour_of(now) - rules.HOUR
    used = HourlyRollup.objects.filter(hour__gte=since, apikey__gt=after).order_by("apikey_id")
    opened = Alert.objects.filter(
        kind__in=(Kind.BUDGET, Kind.SPEND),
        subject_type=Subject.APIKEY,
        subject_id__gt=after,
        resolved_at=None,
    ).order_by("subject_id")
    pks = set(used.values_list("apikey_id", flat=True).distinct()[:PAGE])
    pks |= set(opened.values_list("subject_id", flat=True).distinct()[:PAGE])
    # Of both the first: what lies behind the last of a full page comes with the next one.
    return sorted(pks)[:PAGE]


def _look_at(pks: Sequence[int], now: dt.datetime) -> None:
    rows = ApiKey.objects.select_related("team", "plan").filter(pk__in=pks).order_by()
    apikeys = {row.pk: row for row in rows if row.status == "active"}
    look_at_budgets(apikeys, now)
    look_at_spend(apikeys, pks, now)


def _resolve_gone(now: dt.datetime) -> None:
    """Resolve what is open of keys that are not live any more."""
    kinds = (Kind.BUDGET, Kind.SPEND)
    opened = Alert.objects.filter(kind__in=kinds, subject_type=Subject.APIKEY, resolved_at=None)
    pks = list(opened.values_list("subject_id", flat=True).distinct().order_by()[:OPEN_MAX])
    rows = ApiKey.objects.filter(pk__in=pks).order_by()
    live = {row.pk for row in rows if row.status == "active"}
    alerts_end(opened.filter(subject_id__in=[pk for pk in pks if pk not in live]), now)
