"""What an operator should look at first: gathered from all apps, the worst first.

Each look is bounded, whatever the number of keys. Leads of teams see what is of their teams.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from redis import RedisError

from claudcode.console.budgets import near_budgets
from keys.leads import held_to_teams, visible
from keys.models import ApiKey, Maintenance
from proxy.models import UpstreamAccount
from proxy.standing import State
from proxy.standing import standings as account_standings
from usage import replica
from usage.admin.drawings import NEAR, budget_amounts, frees
from usage.core.figures import duration
from usage.ledger import drain_lag
from usage.models import DeadLetter
from usage.standing import BudgetStanding

SHOWN_MAX = 8
EXPIRING = dt.timedelta(days=7)
# The drain runs every second; some seconds are a busy moment, not a fault.
LAG_S = 10.0

DANGER, WARNING = "danger", "warning"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to look at: how bad it is, what is wrong, what follows, and where to act."""

    level: str
    icon: str
    text: str
    detail: str
    href: str


def alerts(user: User) -> list[Alert]:
    """Return what needs attention of all that `user` may see, the worst first."""
    found = [*_gateway(user), *_replica()]
    if user.has_perm("proxy.view_upstreamaccount"):
        found += _accounts()
    if user.has_perm("keys.view_apikey") or held_to_teams(user):
        found += [*_budgets(user), *_expiring(user)]
    return sorted(found, key=lambda alert: alert.level != DANGER)


def _gateway(user: User) -> Iterator[Alert]:
    maintenance = Maintenance.objects.filter(enabled=True).first()
    if maintenance is not None:
        href = _page("keys_maintenance_changelist", user, "keys.view_maintenance")
        yield Alert(DANGER, "block", "Maintenance is on", "Clients get 503 from /v1.", href)
    if settings.UPSTREAM_SIMULATED:
        href = _page("proxy_upstreamaccount_changelist", user, "proxy.view_upstreamaccount")
        text, detail = (
            "The simulator answers",
            "No upstream account is in use: answers are made up.",
        )
        yield Alert(WARNING, "science", text, detail, href)
    try:
        lag_s = drain_lag()
    except RedisError:
        detail = "The gateway answers 503 until it is back; figures here are of the ledger."
        yield Alert(DANGER, "cloud_off", "Valkey does not answer", detail, "")
        return
    if lag_s > LAG_S:
        level = DANGER if lag_s > settings.DRAIN_LAG_S_MAX else WARNING
        detail = "Figures are that old; nothing is lost. See whether the Celery worker runs."
        yield Alert(level, "hourglass", f"The ledger is {duration(lag_s)} behind", detail, "")
    if user.has_perm("usage.view_deadletter") and DeadLetter.objects.exists():
        href = reverse("admin:usage_deadletter_changelist")
        detail = "They are kept as they came; what they charged is in no report."
        yield Alert(WARNING, "mail", "Events could not be written to the ledger", detail, href)


def _replica() -> Iterator[Alert]:
    if not replica.configured():
        return
    age_s = replica.age_s()
    detail = "Figures of use are read from the primary meanwhile."
    if age_s is None:
        yield Alert(WARNING, "database", "The replica of Postgres cannot be read", detail, "")
    elif age_s > settings.REPLICA_LAG_S_MAX:
        text = f"The replica of Postgres is {duration(age_s)} behind"
        yield Alert(WARNING, "database", text, detail, "")
    elif age_s > replica.TOLD_S:
        detail = "The replica of Postgres, where they are read, is that far behind."
        yield Alert(WARNING, "database", f"Figures of use are {duration(age_s)} old", detail, "")


def _accounts() -> Iterator[Alert]:
    rows = list(UpstreamAccount.objects.all())
    bad = {State.UNUSABLE: DANGER, State.SUSPENDED: DANGER, State.RESTING: WARNING}
    for pk, standing in account_standings(rows).items():
        if standing.state in bad:
            account = next(row for row in rows if row.pk == pk)
            href = reverse("admin:proxy_upstreamaccount_change", args=[pk])
            text = f"Upstream account {account.name} is {standing.state.value}"
            yield Alert(bad[standing.state], "dns", text, standing.reason, href)


def _budgets(user: User) -> Iterator[Alert]:
    now = timezone.now()
    near = near_budgets(user, now)
    for each in near.found[:SHOWN_MAX]:
        yield _budget_alert(each.budget, each.apikey, int(now.timestamp() * 1000))
    more = len(near.found) - SHOWN_MAX
    if more > 0:
        count = f"{more} or more" if near.cut else f"{more}"
        href = _page("alerts_alert_changelist", user, "alerts.view_alert")
        text = f"{count} other budgets are above {NEAR:.0%}"
        detail = "Open alerts name every one of them." if href else ""
        yield Alert(WARNING, "speed", text, detail, href and f"{href}?kind__exact=budget")


def _budget_alert(budget: BudgetStanding, apikey: ApiKey, now_ms: int) -> Alert:
    who, href = apikey.name, reverse("admin:keys_apikey_change", args=[apikey.pk])
    if budget.of_team and apikey.team is not None:
        who = f"Team {apikey.team.name}"
        href = reverse("admin:keys_team_change", args=[apikey.team.pk])
    spent = budget.share >= 1
    word = "has spent its budget" if spent else f"has used {budget.share:.0%} of its budget"
    detail = "; ".join(part for part in (budget_amounts(budget), frees(budget, now_ms)) if part)
    return Alert(DANGER if spent else WARNING, "speed", f"{who} {word}", detail, href)


def _expiring(user: User) -> Iterator[Alert]:
    now = timezone.now()
    soon = (
        visible(user, ApiKey.objects.all())
        .filter(
            revoked_at=None, disabled_at=None, expires_at__gt=now, expires_at__lte=now + EXPIRING
        )
        .order_by("expires_at")
    )
    some = list(soon[: SHOWN_MAX + 1])
    for apikey in some[:SHOWN_MAX]:
        assert apikey.expires_at is not None
        left = duration((apikey.expires_at - now).total_seconds())
        href = reverse("admin:keys_apikey_change", args=[apikey.pk])
        detail = f"{apikey.masked}, {apikey.expires_at:%Y-%m-%d %H:%M} UTC. Then it gets 401."
        yield Alert(WARNING, "schedule", f"{apikey.name} expires in {left}", detail, href)
    if len(some) > SHOWN_MAX:
        href = reverse("admin:keys_apikey_changelist") + "?expires=7"
        yield Alert(WARNING, "schedule", "More keys expire within 7 days", "", href)


def _page(name: str, user: User, permission: str) -> str:
    return reverse(f"admin:{name}") if user.has_perm(permission) else ""
