"""Every write to keys, teams, budgets, the catalogue and the maintenance switch.

Each service is one transaction that holds the change and its audit row; gateways are told after
the commit. A value that cannot be stored raises Django's `ValidationError` and writes nothing.
`acting_user` is who did it, `None` for a command; `acting_address` where a person came from.
"""

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from keys import audit, invalidation, policy, windows
from keys.changes import (
    ApiKeyChanges,
    ClaudeModelChanges,
    TeamChanges,
    apply,
    budget_fields,
    require_future,
    require_offered,
)
from keys.core.access import Hangup
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.secret import ALPHABET, RANDOM_LENGTH, Secret, compose
from keys.models import (
    CONCURRENCY_DEFAULT,
    RPM_DEFAULT,
    ApiKey,
    Budget,
    ClaudeModel,
    Maintenance,
    Team,
)

# What a key gets when nobody says otherwise; the documentation shows the same numbers.
BUDGETS_DEFAULT = (BudgetSpec(Unit.TOKENS, window_s=18_000, limit=5_000_000),)


@transaction.atomic
def apikey_issue(
    *,
    name: str,
    acting_user: User | None,
    acting_address: str | None = None,
    team: Team | None = None,
    owner: User | None = None,
    rpm: int | None = RPM_DEFAULT,
    concurrency: int | None = CONCURRENCY_DEFAULT,
    budgets: Sequence[BudgetSpec] = BUDGETS_DEFAULT,
    models: Sequence[str] = (),
    cidrs: Sequence[str] = (),
    expires_at: dt.datetime | None = None,
    hangup: Hangup = Hangup.ABORT,
    wait_s: int = 0,
    cache_enabled: bool = True,
    during_maintenance: bool = False,
) -> tuple[ApiKey, Secret]:
    """Make a key and return it with its secret, which is stored nowhere and cannot be had again."""
    secret = compose("".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH)))
    apikey = ApiKey(
        name=name,
        team=team,
        owner=owner,
        prefix=secret.prefix,
        last_four=secret.last_four,
        digest=secret.digest,
        rpm=rpm,
        concurrency=concurrency,
        models=list(models),
        cidrs=list(cidrs),
        expires_at=expires_at,
        hangup=hangup.value,
        wait_s=wait_s,
        cache_enabled=cache_enabled,
        during_maintenance=during_maintenance,
        created_by=acting_user,
    )
    require_future(expires_at)
    require_offered(apikey.models)
    apikey.full_clean()
    apikey.save()
    added = [_add_budget(apikey, spec) for spec in budgets]
    detail = {"name": name, "prefix": secret.prefix, "budgets": [str(budget) for budget in added]}
    audit.record("apikey.issue", apikey, acting_user, acting_address, detail)
    _announce(apikey)
    return apikey, secret


@transaction.atomic
def apikey_update(
    *,
    apikey: ApiKey,
    changes: ApiKeyChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ApiKey:
    """Change fields of a key and return it as stored. A change of nothing leaves no trace.

    A key that changes teams changes shards: its windows start again from the ledger.
    """
    stored = ApiKey.objects.select_for_update().get(pk=apikey.pk)
    detail = apply(stored, changes)
    if not detail:
        return stored
    if "models" in detail:
        require_offered(stored.models)
    if "team" in detail:
        stored.scope_generation += 1
        stored.cache_generation += 1
    stored.save()
    audit.record("apikey.update", stored, acting_user, acting_address, detail)
    _announce(stored)
    return stored


def apikey_disable(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse `apikey` until it is enabled; return whether this call was the one that did it."""
    source = {"disabled_at": None, "revoked_at": None}
    target = {"disabled_at": timezone.now()}
    return _apikey_move("disable", apikey, source, target, acting_user, acting_address)


def apikey_enable(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Let a disabled `apikey` in again; return whether this call was the one that did it."""
    source = {"disabled_at__isnull": False, "revoked_at": None}
    target = {"disabled_at": None}
    return _apikey_move("enable", apikey, source, target, acting_user, acting_address)


def apikey_revoke(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse `apikey` for ever; return whether this call was the one that did it."""
    source = {"revoked_at": None}
    target = {"revoked_at": timezone.now()}
    return _apikey_move("revoke", apikey, source, target, acting_user, acting_address)


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
    budgets: Sequence[BudgetSpec] = (),
) -> Team:
    """Make a team; its limits lie over all of its keys together."""
    team = Team(
        name=name,
        rpm=rpm,
        concurrency=concurrency,
        cache_enabled=cache_enabled,
        cache_shared=cache_shared,
    )
    team.full_clean()
    team.save()
    added = [_add_budget(team, spec) for spec in budgets]
    audit.record(
        "team.create",
        team,
        acting_user,
        acting_address,
        {"name": name, "budgets": [str(budget) for budget in added]},
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
    stored = Team.objects.select_for_update().get(pk=team.pk)
    detail = apply(stored, changes)
    if "cache_shared" in detail:
        stored.cache_generation += 1
    if detail:
        stored.save()
        audit.record("team.update", stored, acting_user, acting_address, detail)
        _announce(stored)
    return stored


@transaction.atomic
def team_delete(*, team: Team, acting_user: User | None, acting_address: str | None = None) -> None:
    """Delete a team and its budgets. Raises `ProtectedError` while a key or the ledger knows it."""
    audit.record("team.delete", team, acting_user, acting_address, {"name": team.name})
    team.delete()


@transaction.atomic
def budget_add(
    *,
    holder: ApiKey | Team,
    spec: BudgetSpec,
    acting_user: User | None,
    acting_address: str | None = None,
) -> Budget:
    """Give a key or a team one more budget. One holder has one budget of a unit and a window."""
    budget = _add_budget(holder, spec)
    audit.record("budget.add", holder, acting_user, acting_address, {"budget": str(budget)})
    _announce(holder)
    return budget


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
    before = str(stored)
    if detail := apply(stored, budget_fields(spec)):
        stored.save()
        audit.record(
            "budget.update",
            _holder(stored),
            acting_user,
            acting_address,
            {"budget": before} | detail,
        )
        _announce(_holder(stored))
    return stored


@transaction.atomic
def budget_remove(
    *, budget: Budget, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Take a budget away from its key or team, which is then not bound by it."""
    holder = _holder(budget)
    deleted, _ = Budget.objects.filter(pk=budget.pk).delete()
    if not deleted:
        return  # Someone else got here first; their audit row stands.
    audit.record("budget.remove", holder, acting_user, acting_address, {"budget": str(budget)})
    _announce(holder)


@transaction.atomic
def budget_reset(
    *, budget: Budget, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Empty the budget's window: what was used before now no longer counts against it.

    Raises `windows.NotEmptied` after the commit when Valkey is away: then reset it again later.
    """
    stored = Budget.objects.select_for_update(of=("self",)).get(pk=budget.pk)
    stored.reset_at = windows.now()
    stored.save(update_fields=["reset_at"])
    holder = _holder(stored)
    audit.record("budget.reset", holder, acting_user, acting_address, {"budget": str(stored)})
    _announce(holder)
    # After the announcement: a gateway must not reload the window by the old reset_at.
    transaction.on_commit(partial(_empty_window, stored))


@transaction.atomic
def claude_model_create(
    *,
    model_id: str,
    fields: ClaudeModelChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ClaudeModel:
    """Put a model into the catalogue."""
    claude_model = ClaudeModel(model_id=model_id, **fields)
    claude_model.full_clean()
    claude_model.save()
    audit.record("model.create", claude_model, acting_user, acting_address, {"model_id": model_id})
    _announce_everything()
    return claude_model


@transaction.atomic
def claude_model_update(
    *,
    claude_model: ClaudeModel,
    changes: ClaudeModelChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ClaudeModel:
    """Change a catalogue entry and return it as stored. A change of nothing leaves no trace."""
    stored = ClaudeModel.objects.select_for_update().get(pk=claude_model.pk)
    if detail := apply(stored, changes):
        stored.save()
        audit.record(
            "model.update",
            stored,
            acting_user,
            acting_address,
            {"model_id": stored.model_id} | detail,
        )
        _announce_everything()
    return stored


@transaction.atomic
def maintenance_set(
    *,
    enabled: bool,
    acting_user: User | None,
    acting_address: str | None = None,
    message: str | None = None,
    retry_after_s: int | None = None,
) -> Maintenance:
    """Close or open the gateway; `None` keeps the message or the wait as it was."""
    stored, _ = Maintenance.objects.select_for_update().get_or_create(id=Maintenance.SINGLETON_ID)
    wanted = {"enabled": enabled, "message": message, "retry_after_s": retry_after_s}
    if detail := apply(stored, {k: v for k, v in wanted.items() if v is not None}):
        stored.save()
        audit.record("maintenance.set", stored, acting_user, acting_address, detail)
        _announce_everything()
    return stored


@transaction.atomic
def _apikey_move(
    verb: str,
    apikey: ApiKey,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    acting_user: User | None,
    acting_address: str | None,
) -> bool:
    moved = ApiKey.objects.filter(pk=apikey.pk, **source).update(**target)
    if not moved:
        return False  # Someone else got here first; their audit row stands.
    detail = {"name": apikey.name, "prefix": apikey.prefix}
    audit.record(f"apikey.{verb}", apikey, acting_user, acting_address, detail)
    _announce(apikey)
    return True


def _add_budget(holder: ApiKey | Team, spec: BudgetSpec) -> Budget:
    budget = Budget(**budget_fields(spec))
    if isinstance(holder, Team):
        budget.team = holder
    else:
        budget.apikey = holder
    budget.full_clean()
    budget.save()
    return budget


def _holder(budget: Budget) -> ApiKey | Team:
    holder = budget.apikey or budget.team
    if holder is None:
        raise TypeError("a budget has a key or a team")
    return holder


def _empty_window(budget: Budget) -> None:
    holder, limit = _holder(budget), policy.budget_limit(budget)
    if limit is None:
        return
    emptied_at = windows.forget(policy.holder_shard(holder), limit.window_name)
    same = Budget.objects.filter(pk=budget.pk, reset_at=budget.reset_at)
    if emptied_at and same.update(reset_at=emptied_at):
        # Else what was charged since the commit, and is gone here, came back with a cold start.
        _announce(holder)


def _announce(holder: ApiKey | Team) -> None:
    # After commit: a gateway that rereads sooner would cache the old state.
    if isinstance(holder, Team):
        _announce_everything()
    else:
        transaction.on_commit(partial(invalidation.publish, holder.digest))


def _announce_everything() -> None:
    transaction.on_commit(partial(invalidation.publish, invalidation.EVERYTHING))
