"""What the lead of a team may do: see its keys, and issue and manage them within its plan.

Whoever has the permission `keys.lead_team`, and not that of an operator to change teams, is held to
the teams that a membership says they lead: with none, to nothing. Services hold them to it whatever
page or API they come by; pages show them only what `visible` leaves.
"""

from typing import TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.utils import timezone

from keys.core.terms import excesses
from keys.inheritance import holdings, plan_terms, terms
from keys.models import ApiKey, Plan, Team

Row = TypeVar("Row", bound=Model)


def held_to_teams(user: User | None) -> bool:
    """Return whether `user` may act for the teams they lead and nothing else."""
    if user is None or not user.has_perm("keys.lead_team"):
        return False
    return not user.has_perm("keys.change_team")


def led_teams(user: User) -> QuerySet[Team]:
    """Return the teams that `user` leads."""
    return Team.objects.filter(memberships__user=user, memberships__lead=True)


def visible(user: User, rows: "QuerySet[Row]", team: str = "team") -> "QuerySet[Row]":
    """Return those of `rows` that `user` may see; `team` is the field that names a row's team."""
    if not held_to_teams(user):
        return rows
    # As numbers, so that Postgres sees how few they are and takes the index.
    ids = list(led_teams(user).values_list("pk", flat=True))
    return rows.filter(**{f"{team}__in": ids})


def require_lead(user: User | None, holder: ApiKey | Plan | Team | None) -> None:
    """Raise `PermissionDenied` when `user` is held to their teams and this is none of theirs.

    A key belongs to its team. Teams and plans themselves, and what is nobody's, are not a lead's
    to change.
    """
    if user is None or not held_to_teams(user):
        return
    team_id = holder.team_id if isinstance(holder, ApiKey) else None
    if team_id is None or not led_teams(user).filter(pk=team_id).exists():
        raise PermissionDenied("A team's lead manages the keys of that team only.")


def require_within_plan(user: User | None, apikey: ApiKey) -> None:
    """Raise `ValidationError` when `user` is held to their teams and the key, as stored by now,
    allows more than its team's plan.
    """
    if apikey.team is None or not held_to_teams(user):
        return
    if apikey.team.plan is None:
        raise ValidationError("The team has no plan yet, so only an operator sets what a key may.")
    stored, now = ApiKey.objects.select_related("plan").get(pk=apikey.pk), timezone.now()
    in_force = terms(stored, holdings([stored])[stored], now)
    found = excesses(in_force, plan_terms(apikey.team.plan, now))
    if stored.during_maintenance:
        found.append("Maintenance holds for every key.")
    if found:
        raise ValidationError(["This is more than the team's plan gives.", *found])
