"""Valid rows for tests; each states only what matters to it.

The cast: an operator may do everything in the console, a viewer may only look, a stranger is
signed in and may do nothing.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.secret import Secret
from keys.models import ApiKey, Budget, ClaudeModel, Plan, Team
from keys.services import (
    apikey_issue,
    budget_add,
    claude_model_create,
    member_add,
    plan_create,
    team_create,
)

_numbers = itertools.count(1)


def a_key(**fields: Any) -> ApiKey:
    """A live key as `apikey_issue` makes it."""
    return a_key_and_secret(**fields)[0]


def a_key_and_secret(**fields: Any) -> tuple[ApiKey, Secret]:
    """A live key and the secret that opens it; past the response cache, unless told otherwise, so
    that what a test asks twice is asked upstream twice.
    """
    given = {"name": f"key {next(_numbers)}", "acting_user": None, "cache_enabled": False}
    return apikey_issue(**given | fields)


def a_team(**fields: Any) -> Team:
    """A team without limits."""
    return team_create(**{"name": f"team {next(_numbers)}", "acting_user": None} | fields)


def a_plan(*, budgets: Sequence[BudgetSpec] = (), **fields: Any) -> Plan:
    """A plan of 60 requests a minute and 5 in flight, without budgets."""
    name = fields.pop("name", f"plan {next(_numbers)}")
    return plan_create(name=name, fields=fields, budgets=budgets, acting_user=None)


def a_budget(holder: ApiKey | Plan | Team, **fields: Any) -> Budget:
    """A budget of 1,000 tokens an hour, on top of what the holder has."""
    return budget_add(holder=holder, spec=a_spec(**fields), acting_user=None)


def a_spec(**fields: Any) -> BudgetSpec:
    """1,000 tokens an hour."""
    return BudgetSpec(**{"unit": Unit.TOKENS, "window_s": 3600, "limit": 1000} | fields)


def a_model(*, model_id: str, **fields: Any) -> ClaudeModel:
    """A model in the catalogue."""
    given = {
        "display_name": model_id.title(),
        "released_at": timezone.now(),
        "context_window_tokens": 200_000,
        "output_tokens_max": 64_000,
    }
    return claude_model_create(model_id=model_id, fields=given | fields, acting_user=None)


def an_operator() -> User:
    """Someone who may do everything."""
    return User.objects.create_superuser(f"operator{next(_numbers)}")


def a_viewer(app: str = "keys") -> User:
    """Someone who may look at everything of `app` and change nothing."""
    viewer = User.objects.create_user(f"viewer{next(_numbers)}", is_staff=True)
    viewer.user_permissions.set(
        Permission.objects.filter(content_type__app_label=app, codename__startswith="view_")
    )
    return viewer


def a_lead(*teams: Team) -> User:
    """Someone who leads `teams`, and may do in the console what leads may."""
    lead = User.objects.create_user(f"lead{next(_numbers)}", is_staff=True)
    codenames = ("lead_team", "view_apikey", "add_apikey", "change_apikey")
    lead.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    for team in teams:
        member_add(team=team, user=lead, lead=True, acting_user=None)
    return lead


def a_stranger() -> User:
    """Someone who may sign in to the console and see nothing there."""
    return User.objects.create_user(f"stranger{next(_numbers)}", is_staff=True)
