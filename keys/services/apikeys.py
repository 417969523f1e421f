"""Writes to keys: issue, change, put on a plan, extend, disable, enable, revoke."""

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from keys import audit
from keys.changes import ApiKeyChanges, apply, require_future, require_offered
from keys.core.access import Hangup
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.secret import ALPHABET, RANDOM_LENGTH, Secret, compose
from keys.core.terms import INHERIT, INHERITABLE, Inherit
from keys.inheritance import budget_spec, holdings
from keys.leads import require_lead, require_within_plan
from keys.models import ApiKey, Plan, Team
from keys.services.announce import announce
from keys.services.budgets import drop_budget, put_budget

# What a key gets when nobody says otherwise; the documentation shows the same numbers.
BUDGETS_DEFAULT = (BudgetSpec(Unit.TOKENS, window_s=18_000, limit=5_000_000),)

# When one of these moves, whoever may not go beyond the team's plan is held to it.
_WIDENING = {*INHERITABLE, "plan", "inherited", "team", "during_maintenance"}


@transaction.atomic
def apikey_issue(
    *,
    name: str,
    acting_user: User | None,
    acting_address: str | None = None,
    team: Team | None = None,
    owner: User | None = None,
    plan: Plan | None = None,
    rpm: int | Inherit | None = INHERIT,
    concurrency: int | Inherit | None = INHERIT,
    budgets: Sequence[BudgetSpec] | None = None,
    models: Sequence[str] | Inherit = INHERIT,
    cidrs: Sequence[str] = (),
    expires_at: dt.datetime | None = None,
    hangup: Hangup | Inherit = INHERIT,
    wait_s: int | Inherit = INHERIT,
    cache_enabled: bool | Inherit = INHERIT,
    during_maintenance: bool = False,
) -> tuple[ApiKey, Secret]:
    """Make a key and return it with its secret, which is stored nowhere and cannot be had again.

    `INHERIT` follows the plan; without a plan it is what a plain key gets. So does `None` for
    `budgets`: those of the plan, else `BUDGETS_DEFAULT`. Budgets given stand beside the plan's, in
    place of one of the same unit and window.
    """
    require_lead(acting_user, ApiKey(team=team))
    secret = draw_secret()
    wanted = {
        "rpm": rpm,
        "concurrency": concurrency,
        "models": models if isinstance(models, Inherit) else list(models),
        "hangup": hangup.value if isinstance(hangup, Hangup) else hangup,
        "wait_s": wait_s,
        "cache_enabled": cache_enabled,
    }
    own = {field: value for field, value in wanted.items() if value is not INHERIT}
    apikey = ApiKey(
        name=name,
        team=team,
        owner=owner,
        plan=plan,
        inherited=sorted(wanted.keys() - own.keys()) if plan else [],
        prefix=secret.prefix,
        last_four=secret.last_four,
        digest=secret.digest,
        cidrs=list(cidrs),
        expires_at=expires_at,
        during_maintenance=during_maintenance,
        created_by=acting_user,
        **own,
    )
    require_future(expires_at)
    require_offered(apikey.models)
    apikey.full_clean()
    apikey.save()
    if budgets is None:
        budgets = () if plan else BUDGETS_DEFAULT
    added = [put_budget(apikey, spec) for spec in budgets]
    require_within_plan(acting_user, apikey)
    detail: dict[str, Any] = {"name": name, "prefix": secret.prefix}
    detail["budgets"] = [str(budget) for budget in added]
    if plan is not None:
        detail |= {"plan": plan.name, "inherited": apikey.inherited}
    audit.record("apikey.issue", apikey, acting_user, acting_address, detail)
    announce(apikey)
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

    A field that is changed is the key's own from then on, unless `inherited` says otherwise. A key
    that gets its first plan follows it in all that `changes` do not say; one that loses its plan
    keeps what it had of it, budgets too, as its own. A key that changes teams changes shards: its
    windows start again from the ledger.
    """
    stored = _lock(apikey)
    require_lead(acting_user, stored)
    detail = _change(stored, changes)
    if not detail:
        return stored
    _save(stored, "apikey.update", detail, acting_user, acting_address)
    return stored


@transaction.atomic
def apikey_change_plan(
    *,
    apikey: ApiKey,
    plan: Plan | None,
    acting_user: User | None,
    acting_address: str | None = None,
    keep_own: bool = False,
) -> ApiKey:
    """Put a key on `plan` and return it as stored; it follows the plan in everything.

    With `keep_own` what was its own stays so, fields and budgets. With `None` the key leaves its
    plan and keeps what it had of it as its own.
    """
    stored = _lock(apikey)
    require_lead(acting_user, stored)
    changes: ApiKeyChanges = {"plan": plan}
    removed = []
    if plan is not None:
        changes["inherited"] = list(stored.inherited if keep_own else INHERITABLE)
        removed = [] if keep_own else list(stored.budgets.all())
    detail = _change(stored, changes)
    if removed:
        detail["budgets_removed"] = [str(budget) for budget in removed if drop_budget(budget)]
    if detail:
        _save(stored, "apikey.change_plan", detail, acting_user, acting_address)
    return stored


@transaction.atomic
def apikey_extend(
    *,
    apikey: ApiKey,
    expires_at: dt.datetime | None,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ApiKey:
    """Let a key live longer, for ever with `None`, and return it as stored. An expired one lives
    again. Raises `ValidationError` for a revoked key and for an end before the one it has.
    """
    stored = _lock(apikey)
    require_lead(acting_user, stored)
    require_future(expires_at)
    require_not_revoked(stored)
    if stored.expires_at is None or (expires_at is not None and expires_at < stored.expires_at):
        raise ValidationError({"expires_at": "The key lives longer than that already."})
    if detail := apply(stored, {"expires_at": expires_at}):
        _save(stored, "apikey.extend", detail, acting_user, acting_address)
    return stored


def apikey_disable(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse `apikey` until it is enabled; return whether this call was the one that did it."""
    source = {"disabled_at": None, "revoked_at": None}
    target = {"disabled_at": timezone.now()}
    return _move("disable", apikey, source, target, acting_user, acting_address)


def apikey_enable(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Let a disabled `apikey` in again; return whether this call was the one that did it."""
    source = {"disabled_at__isnull": False, "revoked_at": None}
    target = {"disabled_at": None}
    return _move("enable", apikey, source, target, acting_user, acting_address)


def apikey_revoke(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse `apikey` for ever, by either of its secrets; return whether this call did it."""
    source = {"revoked_at": None}
    target = {"revoked_at": timezone.now()}
    return _move("revoke", apikey, source, target, acting_user, acting_address)


def draw_secret() -> Secret:
    """Return a new secret, which nobody can guess."""
    return compose("".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH)))


def require_not_revoked(apikey: ApiKey) -> None:
    """Raise `ValidationError` for a key that is revoked."""
    if apikey.revoked_at is not None:
        raise ValidationError("The key is revoked, which is for ever. Issue another one.")


def _lock(apikey: ApiKey) -> ApiKey:
    locked = ApiKey.objects.select_for_update(of=("self",)).select_related("plan")
    return locked.get(pk=apikey.pk)


def _change(stored: ApiKey, changes: ApiKeyChanges) -> dict[str, list[Any]]:
    """Set the fields, unsaved, and return what differs; move what a change of plan moves."""
    wanted: dict[str, Any] = dict(changes)
    copied: list[str] = []
    if stored.plan is not None and wanted.get("plan", stored.plan) is None:
        kept = {name: getattr(stored.plan, name) for name in stored.inherited}
        wanted = kept | wanted | {"inherited": []}
        copied = _keep_budgets(stored)
    elif "inherited" in wanted:
        wanted["inherited"] = sorted(set(wanted["inherited"]))
    elif stored.plan is None and wanted.get("plan") is not None:
        wanted["inherited"] = sorted(set(INHERITABLE) - wanted.keys())
    else:
        wanted["inherited"] = [name for name in stored.inherited if name not in wanted]
    detail = apply(stored, wanted)
    if "plan" in detail:
        # What was raised was a budget of the plan before.
        stored.inherited_windows.update(raised_amount=None, raised_until=None)
    if copied:
        detail["budgets_kept"] = copied
    return detail


def _keep_budgets(stored: ApiKey) -> list[str]:
    inherited = [holding for holding in holdings([stored])[stored] if holding.inherited]
    return [str(put_budget(stored, budget_spec(holding.budget))) for holding in inherited]


def _save(
    stored: ApiKey,
    action: str,
    detail: dict[str, list[Any]],
    acting_user: User | None,
    acting_address: str | None,
) -> None:
    if "models" in detail:
        require_offered(stored.models)
    if "team" in detail:
        require_lead(acting_user, stored)
        stored.scope_generation += 1
        stored.cache_generation += 1
    stored.save()
    if _WIDENING & detail.keys() or "budgets_removed" in detail:
        require_within_plan(acting_user, stored)
    audit.record(action, stored, acting_user, acting_address, detail)
    announce(stored)


@transaction.atomic
def _move(
    verb: str,
    apikey: ApiKey,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    acting_user: User | None,
    acting_address: str | None,
) -> bool:
    require_lead(acting_user, apikey)
    # Its row, as it is by now: a rotation meanwhile would leave a digest that nobody announces.
    stored = ApiKey.objects.select_for_update().filter(pk=apikey.pk, **source).first()
    if stored is None:
        return False  # Someone else got here first; their audit row stands.
    ApiKey.objects.filter(pk=stored.pk).update(**target)
    detail = {"name": stored.name, "prefix": stored.prefix}
    audit.record(f"apikey.{verb}", stored, acting_user, acting_address, detail)
    announce(stored)
    return True
