"""Which budgets are near their end, of all keys and teams there are, without looking at them all.

The look for alerts goes through every key in use, minute by minute; what it found above a level is
open as an alert. Those, and the keys that cost most since the last hour, are read live here.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Max, Q

from keys.leads import visible
from keys.models import ApiKey
from operators.alerts.core.rules import Kind, Subject
from operators.alerts.models import Alert
from usage import reports
from usage.admin.drawings import NEAR
from usage.standing import BudgetStanding, standings

# Keys and teams read live: of those with an open alert, and of the busiest. A third of a
# millisecond each.
ALERTED_MAX, BUSIEST_MAX = 60, 40


@dataclass(frozen=True, slots=True)
class NearBudget:
    """A budget that is used to `NEAR` at least, and a key that it binds."""

    budget: BudgetStanding
    apikey: ApiKey


@dataclass(frozen=True, slots=True)
class NearBudgets:
    """The budgets near their end, most used first; `cut` says that there may be more."""

    found: tuple[NearBudget, ...]
    cut: bool


def near_budgets(user: User, now: dt.datetime) -> NearBudgets:
    """Return which budgets are near their end, of all that `user` may see."""
    opened = _opened(user)
    apikeys = list(_apikeys(user, opened, now))
    near: dict[str, NearBudget] = {}
    standing = standings(apikeys, now)
    for apikey in apikeys:
        for budget in standing[apikey.pk].budgets:
            if budget.share >= NEAR:
                near.setdefault(budget.limit.window_name, NearBudget(budget, apikey))
    found = sorted(near.values(), key=lambda each: -each.budget.share)
    return NearBudgets(tuple(found), cut=len(opened) == ALERTED_MAX)


def _opened(user: User) -> list[tuple[str, int]]:
    """Return the keys and teams with an open alert near a budget's end, the worst first."""
    alerts = Alert.objects.filter(
        kind=Kind.BUDGET, resolved_at=None, threshold__gte=round(NEAR * 100)
    )
    worst = (
        visible(user, alerts)
        .values_list("subject_type", "subject_id")
        .annotate(worst=Max("threshold"), newest=Max("raised_at"))
        .order_by("-worst", "-newest")
    )
    return [(subject, pk) for subject, pk, *_ in worst[:ALERTED_MAX]]


def _apikeys(user: User, opened: Iterable[tuple[str, int]], now: dt.datetime) -> Iterator[ApiKey]:
    """Yield the keys to look at; for a team, one of its keys, since all share its budgets."""
    subjects: dict[str, list[int]] = {Subject.APIKEY: [], Subject.TEAM: []}
    for subject, pk in opened:
        subjects[subject].append(pk)
    since = reports.hour_of(now) - reports.HOUR
    held: dict[str, Any] = reports.held_by_teams_of(user)
    busiest = [pk for pk, _ in reports.costliest(since, now, BUSIEST_MAX, **held)]
    live = ApiKey.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, disabled_at=None
    ).select_related("team", "plan")
    live = visible(user, live)
    # `order_by()`: the order is that of the shares.
    yield from live.filter(pk__in={*subjects[Subject.APIKEY], *busiest}).order_by()
    if subjects[Subject.TEAM]:
        members = live.filter(team_id__in=subjects[Subject.TEAM])
        yield from members.order_by("team_id", "-id").distinct("team_id")
