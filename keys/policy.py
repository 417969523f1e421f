"""The one place where rows become policy: what the gateway obeys is built here and nowhere else.

Synchronous and uncached; the gateway calls it off its event loop and keeps what it gets.
"""

import datetime as dt
from collections.abc import Sequence

from django.conf import settings
from django.db.models import Q

from keys import models
from keys.core.access import (
    Catalogue,
    CatalogueModel,
    Hangup,
    KeyPolicy,
    Maintenance,
    parse_network,
)
from keys.core.limits import Concurrency, Limit, Unit
from keys.core.scope import apikey_scope, shard, team_scope

RPM_WINDOW_S = 60

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def load_policy(digest: str) -> KeyPolicy | None:
    """Return the policy of the key with this digest, or `None` if there is none. Two queries."""
    apikey = models.ApiKey.objects.select_related("team").filter(digest=digest).first()
    return None if apikey is None else load_policies([apikey])[apikey.pk]


def load_policies(apikeys: Sequence[models.ApiKey]) -> dict[int, KeyPolicy]:
    """Return the policies of keys, read with their teams, by their ids. One query."""
    team_ids = {apikey.team_id for apikey in apikeys if apikey.team_id is not None}
    held = Q(apikey__in=[apikey.pk for apikey in apikeys]) | Q(team__in=team_ids)
    budgets: dict[tuple[int | None, int | None], list[models.Budget]] = {}
    for budget in models.Budget.objects.filter(held).order_by("id"):
        budgets.setdefault((budget.apikey_id, budget.team_id), []).append(budget)
    return {
        apikey.pk: _policy(
            apikey, budgets.get((apikey.pk, None), []) + budgets.get((None, apikey.team_id), [])
        )
        for apikey in apikeys
    }


def load_catalogue() -> Catalogue:
    """Return all models on offer, in the order of lists."""
    rows = models.ClaudeModel.objects.filter(enabled=True)
    return Catalogue({row.model_id: _catalogue_model(row) for row in rows})


def load_maintenance() -> Maintenance:
    """Return whether the gateway is closed for maintenance."""
    row = models.Maintenance.objects.first() or models.Maintenance()
    return Maintenance(row.enabled, row.message, row.retry_after_s)


def budget_limit(budget: models.Budget) -> Limit | None:
    """Return the limit that `budget` means, `None` when it is unlimited.

    Reads the budget's key or team: select it with the budget.
    """
    if budget.limit_amount is None:
        return None
    return Limit(
        scope=_holder_scope(budget.apikey or budget.team),
        unit=Unit(budget.unit),
        window_s=budget.window_s,
        limit=budget.limit_amount,
        strict=budget.strict,
        anchored=budget.anchored,
        reset_at_ms=_ms(budget.reset_at) or 0,
    )


def holder_shard(holder: models.ApiKey | models.Team) -> int:
    """Return the shard where the counters of a key or of a team live."""
    if isinstance(holder, models.Team):
        return shard(apikey_id=None, team_id=holder.pk, shards=settings.SHARDS)
    return shard(apikey_id=holder.pk, team_id=holder.team_id, shards=settings.SHARDS)


def _policy(apikey: models.ApiKey, budgets: list[models.Budget]) -> KeyPolicy:
    holders: list[models.ApiKey | models.Team] = [apikey]
    if apikey.team is not None:
        holders.append(apikey.team)
    return KeyPolicy(
        apikey_id=apikey.pk,
        team_id=apikey.team_id,
        prefix=apikey.prefix,
        last_four=apikey.last_four,
        name=apikey.name,
        shard=holder_shard(apikey),
        disabled=apikey.disabled_at is not None,
        revoked=apikey.revoked_at is not None,
        expires_at_ms=_ms(apikey.expires_at),
        models=tuple(apikey.models),
        networks=tuple(parse_network(cidr) for cidr in apikey.cidrs),
        limits=_limits(holders, budgets),
        concurrencies=tuple(Concurrency(_holder_scope(h), h.concurrency) for h in holders),
        hangup=Hangup(apikey.hangup),
        cache=apikey.cache_enabled and (apikey.team is None or apikey.team.cache_enabled),
        cache_scope=_cache_scope(apikey),
        wait_s=apikey.wait_s,
        during_maintenance=apikey.during_maintenance,
    )


def _cache_scope(apikey: models.ApiKey) -> str:
    if apikey.team is not None and apikey.team.cache_shared:
        return team_scope(apikey.team.pk, apikey.team.cache_generation)
    return apikey_scope(apikey.pk, apikey.cache_generation)


def _limits(
    holders: list[models.ApiKey | models.Team], budgets: list[models.Budget]
) -> tuple[Limit, ...]:
    limits: list[Limit | None] = []
    for holder in holders:
        limits.append(_rpm_limit(holder))
        limits += [budget_limit(budget) for budget in _held(budgets, holder)]
    return tuple(limit for limit in limits if limit is not None)


def _held(budgets: list[models.Budget], holder: models.ApiKey | models.Team) -> list[models.Budget]:
    field = "team" if isinstance(holder, models.Team) else "apikey"
    held = [budget for budget in budgets if getattr(budget, f"{field}_id") == holder.pk]
    for budget in held:
        setattr(budget, field, holder)  # Spares a query for each budget.
    return held


def _rpm_limit(holder: models.ApiKey | models.Team) -> Limit | None:
    if holder.rpm is None:
        return None
    return Limit(_holder_scope(holder), Unit.REQUESTS, RPM_WINDOW_S, holder.rpm)


def _holder_scope(holder: models.ApiKey | models.Team | None) -> str:
    if isinstance(holder, models.Team):
        return team_scope(holder.pk, holder.scope_generation)
    if isinstance(holder, models.ApiKey):
        return apikey_scope(holder.pk, holder.scope_generation)
    raise TypeError("a budget has a key or a team")


def _catalogue_model(row: models.ClaudeModel) -> CatalogueModel:
    return CatalogueModel(
        id=row.model_id,
        display_name=row.display_name,
        created_at_ms=_ms(row.released_at) or 0,
        context_window_tokens=row.context_window_tokens,
        output_tokens_max=row.output_tokens_max,
        cache_ttl_s=row.cache_ttl_s,
    )


def _ms(at: dt.datetime | None) -> int | None:
    # Whole arithmetic: a float of seconds would be a millisecond off now and then.
    return None if at is None else (at - _EPOCH) // dt.timedelta(milliseconds=1)
