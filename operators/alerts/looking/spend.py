"""Keys whose hour costs far more than their hours do."""

import datetime as dt
from collections.abc import Sequence

from django.db import connection
from django.db.models import Q

from keys.models import ApiKey
from operators.alerts.core import rules
from operators.alerts.core.rules import Finding, Habit, Kind, Subject
from operators.alerts.raising import alerts_raise, alerts_resolve
from usage.core.price import humane_usd

# The ledger may be some seconds behind: the end of an hour is looked at in the next.
SETTLED_AFTER = dt.timedelta(minutes=2)

_HABITS = """
SELECT apikey_id, count(*), percentile_disc(0.95) WITHIN GROUP (ORDER BY cost)::bigint
FROM (
    SELECT apikey_id, sum(cost_nanousd) AS cost FROM usage_hourlyrollup
    WHERE apikey_id = ANY(%s) AND hour >= %s AND hour < %s GROUP BY apikey_id, hour
) AS hours GROUP BY apikey_id
"""
_SPENT = """
SELECT apikey_id, sum(cost_nanousd)::bigint FROM usage_hourlyrollup
WHERE apikey_id = ANY(%s) AND hour = %s GROUP BY apikey_id HAVING sum(cost_nanousd) >= %s
"""


def look_at_spend(apikeys: dict[int, ApiKey], pks: Sequence[int], now: dt.datetime) -> None:
    """Look at the hour of `apikeys`; of the other `pks` nothing is unusual."""
    hour = rules.hour_of(now - SETTLED_AFTER)
    since = hour - rules.HABIT_DAYS * rules.DAY
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, [list(apikeys), hour, rules.SPEND_NANOUSD_MIN])
        spent = dict(cursor.fetchall())
        cursor.execute(_HABITS, [list(spent), since, hour])
        habits = {pk: Habit(hours, high) for pk, hours, high in cursor.fetchall()}
    findings = [
        _spend_finding(apikeys[pk], amount, habits[pk], now)
        for pk, amount in spent.items()
        if pk in habits and rules.unusual(amount, habits[pk])
    ]
    alerts_resolve(Kind.SPEND, Q(subject_id__in=pks), rules.keys_of(findings), now)
    alerts_raise(findings, now)


def _spend_finding(apikey: ApiKey, spent: int, habit: Habit, now: dt.datetime) -> Finding:
    text = (
        f"Key {apikey.name} has spent {humane_usd(spent)} in one hour. Of its hours of use in the"
        f" last {rules.HABIT_DAYS} days, 95 of 100 cost at most {humane_usd(habit.high_nanousd)}."
    )
    return Finding(
        kind=Kind.SPEND,
        subject=Subject.APIKEY,
        subject_id=apikey.pk,
        subject_name=apikey.name,
        team_id=apikey.team_id,
        key=f"spend k{apikey.pk}",
        slot=rules.day_of(now),
        text=text,
    )
