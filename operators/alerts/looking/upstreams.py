"""Accounts that nobody is sent to, or that rest for long."""

import datetime as dt

from django.core.cache import cache
from django.db.models import Q
from redis import RedisError

from operators.alerts.core import rules
from operators.alerts.core.rules import Finding, Kind, Subject
from operators.alerts.raising import alerts_raise, alerts_resolve
from proxy.models import UpstreamAccount
from proxy.rest import resting
from proxy.standing import Standing, State
from proxy.standing import standings as account_standings

RESTING_SEEN = "alerts:resting:{}"


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
