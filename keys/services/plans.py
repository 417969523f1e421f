"""Writes to plans. A change of one reaches every key that follows it, within a second."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from keys import audit
from keys.changes import PlanChanges, apply, require_offered
from keys.core.budget import BudgetSpec
from keys.leads import require_lead
from keys.models import Plan
from keys.services.announce import announce
from keys.services.budgets import put_budget


@transaction.atomic
def plan_create(
    *,
    name: str,
    acting_user: User | None,
    acting_address: str | None = None,
    fields: PlanChanges | None = None,
    budgets: Sequence[BudgetSpec] = (),
) -> Plan:
    """Make a plan, whose limits and budgets hold for each of its keys apart."""
    plan = Plan(**{**(fields or {}), "name": name})
    require_lead(acting_user, plan)
    require_offered(plan.models)
    plan.full_clean()
    plan.save()
    detail: dict[str, Any] = {"name": name}
    detail["budgets"] = [str(put_budget(plan, spec)) for spec in budgets]
    audit.record("plan.create", plan, acting_user, acting_address, detail)
    return plan


@transaction.atomic
def plan_update(
    *,
    plan: Plan,
    changes: PlanChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Plan:
    """Change fields of a plan and return it as stored. A change of nothing leaves no trace."""
    require_lead(acting_user, plan)
    stored = Plan.objects.select_for_update().get(pk=plan.pk)
    if detail := apply(stored, changes):
        if "models" in detail:
            require_offered(stored.models)
        stored.save()
        audit.record("plan.update", stored, acting_user, acting_address, detail)
        announce(stored)
    return stored


@transaction.atomic
def plan_delete(*, plan: Plan, acting_user: User | None, acting_address: str | None = None) -> None:
    """Delete a plan and its budgets. Raises `ProtectedError` while a key or a team has it."""
    require_lead(acting_user, plan)
    audit.record("plan.delete", plan, acting_user, acting_address, {"name": plan.name})
    plan.delete()
