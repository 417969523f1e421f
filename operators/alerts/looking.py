"""Looks for what is worth an alert: keys in use, budgets, accounts, the drain.

Work is bounded: budgets and spend are looked at for keys that were used in this hour or the last,
and for those with an open alert, by pages, until the time is up; the next look goes on from there.
A budget that Valkey does not know is known to the hour, never too low: it can resolve, not raise.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator, Sequence

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from keys.models import ApiKey
from operators.alerts.core import rules
from operators.alerts.core.rules import BudgetUse, Finding, Habit, Kind, Subject
from operators.alerts.models import Alert
from operators.alerts.raising import alerts_forget, alerts_raise, alerts_resolve
from proxy.models import UpstreamAccount
from proxy.rest import resting
from proxy.standing import Standing, State
from proxy.standing import standings as account_standings
from usage.admin.drawings import budget_amounts
from usage.core.figures import duration
from usage.core.price import humane_usd
from usage.ledger import drain_lag
from usage.models import HourlyRollup
from usage.standing import BudgetStanding, standings

PAGE = 300
# A look comes every minute; half of one leaves the worker's threads to the drain.
SECONDS_MAX = 30.0
EXPIRING_MAX = 2_000
# Of open alerts whose subjects may be gone, so many are looked at.
OPEN_MAX = 2_000
# The ledger may be some seconds behind: the end of an hour is looked at in the next.
SETTLED_AFTER = dt.timedelta(minutes=2)
AFTER = "alerts:after"
RESTING_SEEN = "alerts:resting:{}"

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

logger = logging.getLogger(__name__)


def look(now: dt.datetime | None = None) -> None:
    """Raise and resolve alerts of budgets, spend, accounts and the drain."""
    at = now or timezone.now()
    look_at_drain(at)
    look_at_upstreams(at)
    look_at_keys(at)
    alerts_forget(at)


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
    _look_at_open_teams(now)


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


def look_at_upstreams(now: dt.datetime) -> None:
    """Raise alerts of accounts that nobody is sent to, or that rest for long."""
    rows = list(UpstreamAccount.objects.filter(enabled=True))
    try:
        rests = resting()
    except RedisError:
        return  # Which accounts rest is not known; that Valkey is away is for `/readyz` to say.
    long = set()
    for row in rows:
        left_s = (rests[row.pk].until - now).total_seconds() if row.pk in rests else 0.0
        if rules.resting_long(left_s, _seen_resting_s(row.pk, row.pk in rests, now)):
            long.add(row.pk)
    findings = [
        _upstream_finding(row, standing, now)
        for row, standing in zip(rows, account_standings(rows).values(), strict=True)
        if standing.state in (State.UNUSABLE, State.SUSPENDED)
        or (standing.state is State.RESTING and row.pk in long)
    ]
    alerts_resolve(Kind.UPSTREAM, Q(), rules.keys_of(findings), now)
    alerts_raise(findings, now)


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


# --- Keys ---------------------------------------------------------------------------------------


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
    _look_at_budgets(apikeys, now)
    _look_at_spend(apikeys, pks, now)


def _look_at_budgets(apikeys: dict[int, ApiKey], now: dt.datetime) -> None:
    # By window, since all keys of a team share the team's.
    findings: dict[str, list[Finding]] = {}
    cold: set[str] = set()
    for pk, standing in standings(list(apikeys.values()), now).items():
        for budget in standing.budgets:
            name = budget.limit.window_name
            findings[name] = rules.budget_findings(_budget_use(budget, apikeys[pk]), now)
            if budget.to_the_hour:
                cold.add(name)
    teams = {row.team_id for row in apikeys.values() if row.team_id is not None}
    looked_at = Q(subject_type=Subject.APIKEY, subject_id__in=list(apikeys)) | Q(
        subject_type=Subject.TEAM, subject_id__in=teams
    )
    every = [finding for found in findings.values() for finding in found]
    alerts_resolve(Kind.BUDGET, looked_at, rules.keys_of(every), now)
    alerts_raise([f for name, found in findings.items() if name not in cold for f in found], now)


def _budget_use(budget: BudgetStanding, apikey: ApiKey) -> BudgetUse:
    limit, team = budget.limit, apikey.team if budget.of_team else None
    ends_ms = budget.frees_at_ms if limit.anchored else None
    return BudgetUse(
        window_name=limit.window_name,
        subject=Subject.APIKEY if team is None else Subject.TEAM,
        subject_id=apikey.pk if team is None else team.pk,
        subject_name=apikey.name if team is None else team.name,
        team_id=apikey.team_id,
        used=budget.used,
        limit=limit.limit,
        window_s=limit.window_s,
        amounts=budget_amounts(budget),
        reset_at=_instant(limit.reset_at_ms),
        ends_at=None if ends_ms is None else _instant(ends_ms),
    )


def _look_at_spend(apikeys: dict[int, ApiKey], pks: Sequence[int], now: dt.datetime) -> None:
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


def _resolve_gone(now: dt.datetime) -> None:
    """Resolve what is open of keys that are not live any more."""
    kinds = (Kind.BUDGET, Kind.SPEND)
    opened = Alert.objects.filter(kind__in=kinds, subject_type=Subject.APIKEY, resolved_at=None)
    pks = list(opened.values_list("subject_id", flat=True).distinct().order_by()[:OPEN_MAX])
    live = {row.pk for row in _rows(pks) if row.status == "active"}
    opened.filter(subject_id__in=[pk for pk in pks if pk not in live]).update(resolved_at=now)


def _look_at_open_teams(now: dt.datetime) -> None:
    """Look at teams with an open alert, through one live key of each: all share the windows."""
    opened = Alert.objects.filter(kind=Kind.BUDGET, subject_type=Subject.TEAM, resolved_at=None)
    ids = list(opened.values_list("subject_id", flat=True).distinct().order_by()[:PAGE])
    live = ApiKey.objects.filter(team_id__in=ids, revoked_at=None, disabled_at=None)
    live = live.filter(Q(expires_at=None) | Q(expires_at__gt=now)).select_related("team", "plan")
    members = {row.team_id: row for row in live.order_by("team_id", "-id").distinct("team_id")}
    _look_at_budgets({row.pk: row for row in members.values()}, now)
    gone = [team_id for team_id in ids if team_id not in members]
    opened.filter(subject_id__in=gone).update(resolved_at=now)


def _resolve_extended(now: dt.datetime) -> None:
    opened = Alert.objects.filter(kind=Kind.EXPIRING, resolved_at=None)
    for alerts in _chunks(opened.order_by("id")):
        keys = {row.pk: row for row in _rows([alert.subject_id for alert in alerts])}
        over = [
            alert.pk
            for alert in alerts
            if (key := keys.get(alert.subject_id)) is None
            or key.status != "active"
            or key.expires_at != alert.slot
        ]
        Alert.objects.filter(pk__in=over, resolved_at=None).update(resolved_at=now)


def _rows(pks: Sequence[int]) -> Iterable[ApiKey]:
    return ApiKey.objects.filter(pk__in=pks).order_by()


def _chunks(alerts: "Iterable[Alert]") -> Iterator[list[Alert]]:
    rows = list(alerts)
    for start in range(0, len(rows), PAGE):
        yield rows[start : start + PAGE]


# --- Accounts -----------------------------------------------------------------------------------


def _seen_resting_s(pk: int, rests: bool, now: dt.datetime) -> float:
    name = RESTING_SEEN.format(pk)
    if not rests:
        cache.delete(name)
        return 0.0
    since = cache.get_or_set(name, now.timestamp(), timeout=3600)
    return now.timestamp() - float(since)


def _upstream_finding(row: UpstreamAccount, standing: Standing, now: dt.datetime) -> Finding:
    slot = rules.hour_of(now)
    if standing.state is State.SUSPENDED and row.suspended_at is not None:
        slot = row.suspended_at
    return Finding(
        kind=Kind.UPSTREAM,
        subject=Subject.UPSTREAM,
        subject_id=row.pk,
        subject_name=row.name,
        team_id=None,
        key=f"upstream {row.pk} {standing.state.value}",
        slot=slot,
        text=f"Upstream account {row.name} is {standing}.",
    )


def _instant(ms: int) -> dt.datetime:
    return rules.EPOCH + dt.timedelta(milliseconds=ms)
