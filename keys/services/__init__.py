"""Every write to keys, plans, teams, budgets, the catalogue and the maintenance switch.

Each service is one transaction that holds the change and its audit row; gateways are told after
the commit. A value that cannot be stored raises Django's `ValidationError` and writes nothing; who
leads teams and reaches beyond them gets `PermissionDenied`. `acting_user` is who did it, `None` for
a command; `acting_address` where a person came from.
"""

from keys.services.apikeys import (
    BUDGETS_DEFAULT,
    apikey_change_plan,
    apikey_disable,
    apikey_enable,
    apikey_extend,
    apikey_issue,
    apikey_revoke,
    apikey_update,
)
from keys.services.budgets import (
    budget_add,
    budget_raise,
    budget_raise_end,
    budget_remove,
    budget_reset,
    budget_update,
)
from keys.services.catalogue import claude_model_create, claude_model_update, maintenance_set
from keys.services.plans import plan_create, plan_delete, plan_update
from keys.services.rotation import GRACE_DEFAULT, GRACE_MAX, apikey_end_grace, apikey_rotate
from keys.services.teams import (
    member_add,
    member_remove,
    member_update,
    team_create,
    team_delete,
    team_update,
)

__all__ = [
    "BUDGETS_DEFAULT",
    "GRACE_DEFAULT",
    "GRACE_MAX",
    "apikey_change_plan",
    "apikey_disable",
    "apikey_enable",
    "apikey_end_grace",
    "apikey_extend",
    "apikey_issue",
    "apikey_revoke",
    "apikey_rotate",
    "apikey_update",
    "budget_add",
    "budget_raise",
    "budget_raise_end",
    "budget_remove",
    "budget_reset",
    "budget_update",
    "claude_model_create",
    "claude_model_update",
    "maintenance_set",
    "member_add",
    "member_remove",
    "member_update",
    "plan_create",
    "plan_delete",
    "plan_update",
    "team_create",
    "team_delete",
    "team_update",
]
