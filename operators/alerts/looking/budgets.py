"""Budgets of keys and of their teams.

A window that Valkey does not know is known to the hour, never too low: it can resolve, not raise.
"""

import datetime as dt

from django.db.models import Q

from keys.models import ApiKey
from operators.alerts.core import rules
from operators.alerts.core.rules import BudgetUse, Finding, Kind, Subject
from operators.alerts.models import Alert
from operators.alerts.raising import alerts_end, alerts_raise, alerts_resolve
from usage.admin.drawings import budget_amounts
from usage.standing import BudgetStanding, standings

# Teams with an open alert that are looked at.
TEAMS_MAX = 300


def look_at_budgets(apikeys: dict[int, ApiKey], now: dt.datetime) -> None:
    """Look at every budget that binds one of `apikeys`."""
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


def look_at_open_teams(now: dt.datetime) -> None:
    """Look at teams with an open alert, through one live key of each: all share the windows."""
    opened = Alert.objects.filter(kind=Kind.BUDGET, subject_type=Subject.TEAM, resolved_at=None)
    ids = list(opened.values_list("subject_id", flat=True).distinct().order_by()[:TEAMS_MAX])
    live = ApiKey.objects.filter(team_id__in=ids, revoked_at=None, disabled_at=None)
    live = live.filter(Q(expires_at=None) | Q(expires_at__gt=now)).select_related("team", "plan")
    members = {row.team_id: row for row in live.order_by("team_id", "-id").distinct("team_id")}
    look_at_budgets({row.pk: row for row in members.values()}, now)
    gone = [team_id for team_id in ids if team_id not in members]
    alerts_end(opened.filter(subject_id__in=gone), now)


def _instant(ms: int) -> dt.datetime:
    return rules.EPOCH + dt.timedelta(milliseconds=ms)
