"""Writes to budgets of keys, teams and plans: what they allow, and what their windows count.

The budget of a plan has a window for each key. Who resets or raises one says whose: `apikey`.
"""

import datetime as dt
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from keys import audit, policy, windows
from keys.changes import apply, budget_fields, require_future
from keys.core.budget import BudgetSpec, format_amount
from keys.core.limits import Unit
from keys.inheritance import Holding
from keys.leads import require_lead, require_within_plan
from keys.models import ApiKey, Budget, InheritedWindow, Plan, Team
from keys.services.announce import announce

Holder = ApiKey | Plan | Team


@transaction.atomic
def budget_add(
    *,
    holder: Holder,
    spec: BudgetSpec,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Budget:
    """Give a key, a team or a plan one more budget. One holder has one of a unit and a window.

    A key's own takes the place of its plan's of the same unit and window.
    """
    require_lead(acting_user, holder)
    budget = put_budget(holder, spec)
    audit.record("budget.add", holder, acting_user, acting_address, {"budget": str(budget)})
    return _done(budget, holder, acting_user)


@transaction.atomic
def budget_update(
    *,
    budget: Budget,
    spec: BudgetSpec,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Budget:
    """Make `budget` what `spec` says and return it as stored; what was used stays used."""
    stored = Budget.objects.select_for_update(of=("self",)).get(pk=budget.pk)
    holder, before = _holder(stored), str(stored)
    require_lead(acting_user, holder)
    detail = apply(stored, budget_fields(spec))
    if not detail:
        return stored
    stored.save()
    audit.record("budget.update", holder, acting_user, acting_address, {"budget": before} | detail)
    return _done(stored, holder, acting_user)


@transaction.atomic
def budget_remove(
    *, budget: Budget, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Take a budget away from its holder, which is then not bound by it.

    A key is bound by its plan's budget of the same unit and window again, if there is one.
    """
    holder = _holder(budget)
    require_lead(acting_user, holder)
    if not drop_budget(budget):
        return  # Someone else got here first; their audit row stands.
    audit.record("budget.remove", holder, acting_user, acting_address, {"budget": str(budget)})
    _done(budget, holder, acting_user)


@transaction.atomic
def budget_reset(
    *,
    budget: Budget,
    acting_user: User | None,
    acting_address: str | None = None,
    apikey: ApiKey | None = None,
) -> None:
    """Empty the budget's window: what was used before now no longer counts against it.

    Raises `windows.NotEmptied` after the commit when Valkey is away: then reset it again later.
    """
    holding = _lock(budget, apikey)
    require_lead(acting_user, holding.holder)
    if isinstance(holding.holder, Plan):
        raise ValidationError("Each key of a plan has a window of its own: say whose to empty.")
    row = holding.special or holding.budget
    row.reset_at = windows.now(policy.holder_shard(holding.holder))
    row.save(update_fields=["reset_at"])
    detail = {"budget": str(holding.budget)}
    audit.record("budget.reset", holding.holder, acting_user, acting_address, detail)
    announce(holding.holder)
    # After the announcement: a gateway must not reload the window by the old reset_at.
    transaction.on_commit(partial(_empty_window, holding))


@transaction.atomic
def budget_raise(
    *,
    budget: Budget,
    limit: int,
    until: dt.datetime,
    acting_user: User | None,
    acting_address: str | None = None,
    apikey: ApiKey | None = None,
) -> None:
    """Let `limit` tokens or nano-dollars be used until that instant, when the raise ends by itself.

    A raise before it is replaced. Without `apikey`, that of a plan's budget is for all its keys.
    """
    require_future(until, "until")
    holding = _lock(budget, apikey)
    require_lead(acting_user, holding.holder)
    ordinary = holding.budget.limit_amount
    if ordinary is None or limit <= ordinary:
        raise ValidationError({"limit": "The budget allows that much already."})
    unit = Unit(holding.budget.unit)
    detail = _set_raise(holding, limit, until)
    if not detail:
        return
    facts = {"budget": str(holding.budget), "raised_to": format_amount(unit, limit)}
    audit.record("budget.raise", holding.holder, acting_user, acting_address, facts | detail)
    _done(holding.budget, holding.holder, acting_user)


@transaction.atomic
def budget_raise_end(
    *,
    budget: Budget,
    acting_user: User | None,
    acting_address: str | None = None,
    apikey: ApiKey | None = None,
) -> None:
    """End a raise before its date. Where there is none, nothing happens."""
    holding = _lock(budget, apikey)
    require_lead(acting_user, holding.holder)
    if detail := _set_raise(holding, None, None):
        facts = {"budget": str(holding.budget)}
        audit.record(
            "budget.raise_end", holding.holder, acting_user, acting_address, facts | detail
        )
        announce(holding.holder)


def put_budget(holder: Holder, spec: BudgetSpec) -> Budget:
    """Store a budget, unaudited and unannounced: for services that make its holder."""
    budget = Budget(**budget_fields(spec))
    setattr(budget, holder._meta.model_name or "", holder)
    if isinstance(holder, ApiKey):
        # Its window was emptied while the plan said the limit: it stays so.
        emptied = holder.inherited_windows.filter(unit=budget.unit, window_s=budget.window_s)
        budget.reset_at = emptied.values_list("reset_at", flat=True).first()
    budget.full_clean()
    budget.save()
    return budget


def drop_budget(budget: Budget) -> bool:
    """Delete a budget, unaudited and unannounced; return whether this call was the one."""
    deleted, _ = Budget.objects.filter(pk=budget.pk).delete()
    if deleted and budget.apikey_id is not None and budget.reset_at is not None:
        # And the other way round: the same window may be counted by the plan's limit now.
        InheritedWindow.objects.update_or_create(
            apikey_id=budget.apikey_id,
            unit=budget.unit,
            window_s=budget.window_s,
            defaults={"reset_at": budget.reset_at},
        )
    return bool(deleted)


def _done(budget: Budget, holder: Holder, acting_user: User | None) -> Budget:
    if isinstance(holder, ApiKey):
        require_within_plan(acting_user, holder)
    announce(holder)
    return budget


def _holder(budget: Budget) -> Holder:
    holder = budget.apikey or budget.team or budget.plan
    if holder is None:
        raise TypeError("a budget has a key, a team or a plan")
    return holder


def _lock(budget: Budget, apikey: ApiKey | None) -> Holding:
    """Return the budget as it binds its holder, or `apikey` by its plan, with its row locked."""
    stored = Budget.objects.select_for_update(of=("self",)).get(pk=budget.pk)
    if apikey is None or stored.plan_id is None:
        return Holding(_holder(stored), stored)
    if apikey.plan_id != stored.plan_id:
        raise ValidationError("The key does not follow the plan of this budget.")
    window, _ = InheritedWindow.objects.select_for_update(of=("self",)).get_or_create(
        apikey=apikey, unit=stored.unit, window_s=stored.window_s
    )
    return Holding(apikey, stored, window)


def _set_raise(holding: Holding, limit: int | None, until: dt.datetime | None) -> dict[str, Any]:
    row = holding.special or holding.budget
    detail = apply(row, {"raised_amount": limit, "raised_until": until})
    row.save(update_fields=["raised_amount", "raised_until"])
    return detail


def _empty_window(holding: Holding) -> None:
    limit = policy.budget_limit(holding)
    if limit is None or isinstance(holding.holder, Plan):
        return
    row = holding.special or holding.budget
    emptied_at = windows.forget(policy.holder_shard(holding.holder), limit.window_name)
    same = type(row)._default_manager.filter(pk=row.pk, reset_at=row.reset_at)
    if emptied_at and same.update(reset_at=emptied_at):
        # Else what was charged since the commit, and is gone here, came back with a cold start.
        announce(holding.holder)
