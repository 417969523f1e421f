"""Writes to teams and to who is in them."""

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction

from keys import audit
from keys.changes import TeamChanges, apply
from keys.core.budget import BudgetSpec
from keys.leads import require_lead
from keys.models import Membership, Plan, Team
from keys.services.announce import announce
from keys.services.budgets import put_budget


@transaction.atomic
def team_create(
    *,
    name: str,
    acting_user: User | None,
    acting_address: str | None = None,
    rpm: int | None = None,
    concurrency: int | None = None,
    cache_enabled: bool = True,
    cache_shared: bool = False,
    ledger_keep_days: int | None = None,
    legal_hold: str = "",
    plan: Plan | None = None,
    budgets: Sequence[BudgetSpec] = (),
) -> Team:
    """Make a team; its limits lie over all of its keys together."""
    team = Team(
        name=name,
        rpm=rpm,
        concurrency=concurrency,
        cache_enabled=cache_enabled,
        cache_shared=cache_shared,
        ledger_keep_days=ledger_keep_days,
        legal_hold=legal_hold,
        plan=plan,
    )
    require_lead(acting_user, team)
    team.full_clean()
    team.save()
    added = [put_budget(team, spec) for spec in budgets]
    audit.record(
        "team.create",
        team,
        acting_user,
        acting_address,
        {"name": name, "budgets": [str(budget) for budget in added]}
        | ({"legal_hold": legal_hold} if legal_hold else {}),
    )
    return team


@transaction.atomic
def team_update(
    *,
    team: Team,
    changes: TeamChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Team:
    """Change fields of a team and return it as stored. A change of nothing leaves no trace."""
    require_lead(acting_user, team)
    stored = Team.objects.select_for_update().get(pk=team.pk)
    detail = apply(stored, changes)
    if "cache_shared" in detail:
        stored.cache_generation += 1
    if detail:
        stored.save()
        audit.record("team.update", stored, acting_user, acting_address, detail)
        announce(stored)
    return stored


@transaction.atomic
def team_delete(*, team: Team, acting_user: User | None, acting_address: str | None = None) -> None:
    """Delete a team and its budgets. Raises `ProtectedError` while a key or the ledger knows it."""
    require_lead(acting_user, team)
    audit.record("team.delete", team, acting_user, acting_address, {"name": team.name})
    team.delete()


@transaction.atomic
def member_add(
    *,
    team: Team,
    user: User,
    acting_user: User | None,
    acting_address: str | None = None,
    lead: bool = False,
) -> Membership:
    """Put `user` into `team`, as its lead perhaps; nobody is in a team twice."""
    require_lead(acting_user, team)
    member = Membership(team=team, user=user, lead=lead)
    member.full_clean()
    member.save()
    detail = {"user": user.get_username(), "lead": lead}
    audit.record("team.member_add", team, acting_user, acting_address, detail)
    return member


@transaction.atomic
def member_update(
    *,
    member: Membership,
    lead: bool,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Membership:
    """Make a member the lead of the team, or no longer. A change of nothing leaves no trace."""
    require_lead(acting_user, member.team)
    stored = Membership.objects.select_for_update(of=("self",)).get(pk=member.pk)
    if detail := apply(stored, {"lead": lead}):
        stored.save()
        facts = {"user": stored.user.get_username()}
        audit.record("team.member_update", stored.team, acting_user, acting_address, facts | detail)
    return stored


@transaction.atomic
def member_remove(
    *, member: Membership, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Take a member out of the team. Their keys stay: a key belongs to the team."""
    require_lead(acting_user, member.team)
    deleted, _ = Membership.objects.filter(pk=member.pk).delete()
    if not deleted:
        return  # Someone else got here first; their audit row stands.
    detail = {"user": member.user.get_username()}
    audit.record("team.member_remove", member.team, acting_user, acting_address, detail)
