"""What a key takes from its plan, what is its own, and which budgets bind it in the end.

A field named in `ApiKey.inherited` has the plan's value. A budget of the plan binds the key unless
the key has one of the same unit and window itself, be it unlimited. The window counts what the key
used, whoever says the limit, so usage stays when a budget changes hands.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q, prefetch_related_objects

from keys.core.access import Hangup
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.terms import INHERITABLE, Terms
from keys.models import ApiKey, Budget, InheritedWindow, Plan, Team


@dataclass(frozen=True, slots=True)
class Holding:
    """A budget that binds `holder`, or that a plan gives. `special` is what a key has of its own in
    a budget of its plan.
    """

    holder: ApiKey | Plan | Team
    budget: Budget
    special: InheritedWindow | None = None

    @property
    def inherited(self) -> bool:
        """Whether the plan says the limit."""
        return self.budget.plan_id is not None

    @property
    def reset_at(self) -> dt.datetime | None:
        """When the holder's window was last emptied."""
        return self.budget.reset_at if self.special is None else self.special.reset_at

    def spec(self, at: dt.datetime) -> BudgetSpec:
        """Return the budget in force at that instant, raised or not."""
        spec = budget_spec(self.budget)
        if spec.limit is None:
            return spec
        raised = [amount for amount, until in self._raises() if until > at]
        return replace(spec, limit=max([spec.limit, *raised]))

    def raised_until(self, at: dt.datetime) -> dt.datetime | None:
        """Return when a raise that is in force at that instant ends, `None` if there is none."""
        return min((until for _, until in self._raises() if until > at), default=None)

    def _raises(self) -> list[tuple[int, dt.datetime]]:
        return [
            (row.raised_amount, row.raised_until)
            for row in (self.budget, self.special)
            if row is not None and row.raised_amount is not None and row.raised_until is not None
        ]


def holdings(
    apikeys: Sequence[ApiKey], teams: Iterable[Team] = ()
) -> dict[ApiKey | Team, list[Holding]]:
    """Return the budgets that bind each of the keys and each of the teams, a key's own first.

    One query however many there are, two when one has a plan; those of a key's team are the team's.
    """
    prefetch_related_objects(apikeys, "plan")
    teams = list(teams)
    plan_ids = {apikey.plan_id for apikey in apikeys if apikey.plan_id is not None}
    rows = _budgets([apikey.pk for apikey in apikeys], [team.pk for team in teams], plan_ids)
    specials = {
        (window.apikey_id, window.unit, window.window_s): window
        for window in (InheritedWindow.objects.filter(apikey__in=apikeys) if plan_ids else ())
    }
    held: dict[ApiKey | Team, list[Holding]] = {}
    for team in teams:
        held[team] = [Holding(team, budget) for budget in rows.get(("team", team.pk), [])]
    for apikey in apikeys:
        own = rows.get(("apikey", apikey.pk), [])
        taken = {(budget.unit, budget.window_s) for budget in own}
        held[apikey] = [Holding(apikey, budget) for budget in own] + [
            Holding(apikey, budget, specials.get((apikey.pk, budget.unit, budget.window_s)))
            for budget in rows.get(("plan", apikey.plan_id), [])
            if (budget.unit, budget.window_s) not in taken
        ]
    return held


def terms(apikey: ApiKey, held: Sequence[Holding], at: dt.datetime) -> Terms:
    """Return what is in force for the key, of its plan and of its own, at that instant."""
    own = _terms(apikey, [holding.spec(at) for holding in held])
    if apikey.plan is None:
        return own
    plan = _terms(apikey.plan, [])
    values = {
        name: getattr(plan if name in apikey.inherited else own, name) for name in INHERITABLE
    }
    return Terms(**values, budgets=own.budgets)


def own_or_plan(apikey: ApiKey, field: str) -> Any:
    """Return the value in force of one field, of a key read with its plan."""
    return getattr(apikey.plan if field in apikey.inherited else apikey, field)


def plan_terms(plan: Plan, at: dt.datetime) -> Terms:
    """Return what a plan gives at that instant. One query."""
    return _terms(plan, [Holding(plan, budget).spec(at) for budget in plan.budgets.all()])


def budget_spec(budget: Budget) -> BudgetSpec:
    """Return what the row says, a raise left out."""
    return BudgetSpec(
        Unit(budget.unit), budget.window_s, budget.limit_amount, budget.strict, budget.anchored
    )


def _terms(row: ApiKey | Plan, budgets: Sequence[BudgetSpec]) -> Terms:
    return Terms(
        rpm=row.rpm,
        concurrency=row.concurrency,
        wait_s=row.wait_s,
        models=tuple(row.models),
        cache_enabled=row.cache_enabled,
        hangup=Hangup(row.hangup),
        budgets=tuple(budgets),
    )


def _budgets(
    apikey_ids: Iterable[int], team_ids: Iterable[int], plan_ids: Iterable[int]
) -> dict[tuple[str, int | None], list[Budget]]:
    wanted = Q(apikey__in=apikey_ids) | Q(team__in=team_ids)
    if plan_ids:
        wanted |= Q(plan__in=plan_ids)
    rows: dict[tuple[str, int | None], list[Budget]] = {}
    for budget in Budget.objects.filter(wanted).order_by("id"):
        for kind in ("apikey", "team", "plan"):
            if (holder_id := getattr(budget, f"{kind}_id")) is not None:
                rows.setdefault((kind, holder_id), []).append(budget)
    return rows
