"""The one place where rows become policy: what the gateway obeys is built here and nowhere else.

Synchronous and uncached; the gateway calls it off its event loop and keeps what it gets.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from django.conf import settings
from django.db.models import Q, prefetch_related_objects
from django.utils import timezone

from keys import models
from keys.core.access import (
    Catalogue,
    CatalogueModel,
    KeyPolicy,
    Maintenance,
    parse_network,
)
from keys.core.limits import Concurrency, Limit, Unit
from keys.core.scope import apikey_scope, shard, team_scope
from keys.inheritance import Holding, holdings, terms

RPM_WINDOW_S = 60

Held = dict[models.ApiKey | models.Team, list[Holding]]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def load_policy(digest: str) -> KeyPolicy | None:
    """Return the policy of the key with this digest, or `None` if there is none.

    The digest of the secret before a rotation finds the key too, until the end of its grace. Two
    queries, three for a key with a plan.
    """
    known = Q(digest=digest) | Q(previous_digest=digest)
    found = models.ApiKey.objects.select_related("team", "plan").filter(known)
    apikey = next(iter(found.order_by()[:1]), None)
    if apikey is None:
        return None
    policy = load_policies([apikey])[apikey.pk]
    return policy if digest == apikey.digest else _of_previous(policy, apikey)


def load_policies(apikeys: Sequence[models.ApiKey]) -> dict[int, KeyPolicy]:
    """Return the policies of keys by their ids.

    One query for keys read with their teams and plans, two when one has a plan.
    """
    prefetch_related_objects(apikeys, "team")
    teams = {apikey.team for apikey in apikeys if apikey.team is not None}
    held, now = holdings(apikeys, teams), timezone.now()
    return {apikey.pk: _policy(apikey, held, now) for apikey in apikeys}


def load_catalogue() -> Catalogue:
    """Return all models on offer, in the order of lists."""
    rows = models.ClaudeModel.objects.filter(enabled=True)
    return Catalogue({row.model_id: _catalogue_model(row) for row in rows})


def load_maintenance() -> Maintenance:
    """Return whether the gateway is closed for maintenance."""
    row = models.Maintenance.objects.first() or models.Maintenance()
    return Maintenance(row.enabled, row.message, row.retry_after_s)


def budget_limit(holding: Holding, at: dt.datetime | None = None) -> Limit | None:
    """Return the limit that binds the holder at that instant, now without one; `None` when it is
    unlimited.
    """
    spec = holding.spec(at or timezone.now())
    if spec.limit is None:
        return None
    return Limit(
        scope=holder_scope(holding.holder),
        unit=spec.unit,
        window_s=spec.window_s,
        limit=spec.limit,
        strict=spec.strict,
        anchored=spec.anchored,
        reset_at_ms=_ms(holding.reset_at) or 0,
    )


def holder_shard(holder: models.ApiKey | models.Team) -> int:
    """Return the shard where the counters of a key or of a team live."""
    if isinstance(holder, models.Team):
        return shard(apikey_id=None, team_id=holder.pk, shards=settings.SHARDS)
    return shard(apikey_id=holder.pk, team_id=holder.team_id, shards=settings.SHARDS)


def _policy(apikey: models.ApiKey, held: Held, at: dt.datetime) -> KeyPolicy:
    own, team = terms(apikey, held[apikey], at), apikey.team
    ends = [holding.raised_until(at) for holding in held[apikey] + (held[team] if team else [])]
    until = min((end for end in ends if end is not None), default=None)
    limits = _limits(apikey, own.rpm, held[apikey], at)
    concurrencies = [Concurrency(holder_scope(apikey), own.concurrency)]
    if team is not None:
        limits += _limits(team, team.rpm, held[team], at)
        concurrencies.append(Concurrency(holder_scope(team), team.concurrency))
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
        models=own.models,
        networks=tuple(parse_network(cidr) for cidr in apikey.cidrs),
        limits=tuple(limits),
        concurrencies=tuple(concurrencies),
        hangup=own.hangup,
        cache=own.cache_enabled and (team is None or team.cache_enabled),
        cache_scope=_cache_scope(apikey),
        wait_s=own.wait_s,
        during_maintenance=apikey.during_maintenance,
        until_ms=_ms(until),
        later=None if until is None else _policy(apikey, held, until),
    )


def _of_previous(policy: KeyPolicy, apikey: models.ApiKey) -> KeyPolicy:
    """Return the policy of the secret before the rotation: it has its own look and its own end."""
    ends = [_ms(apikey.previous_expires_at), policy.expires_at_ms]
    return replace(
        policy,
        prefix=apikey.previous_prefix,
        last_four=apikey.previous_last_four,
        expires_at_ms=min(end for end in ends if end is not None),
        later=None if policy.later is None else _of_previous(policy.later, apikey),
    )


def _cache_scope(apikey: models.ApiKey) -> str:
    if apikey.team is not None and apikey.team.cache_shared:
        return team_scope(apikey.team.pk, apikey.team.cache_generation)
    return apikey_scope(apikey.pk, apikey.cache_generation)


def _limits(
    holder: models.ApiKey | models.Team,
    rpm: int | None,
    held: list[Holding],
    at: dt.datetime,
) -> list[Limit]:
    limits = [budget_limit(holding, at) for holding in held]
    if rpm is not None:
        limits.insert(0, Limit(holder_scope(holder), Unit.REQUESTS, RPM_WINDOW_S, rpm))
    return [limit for limit in limits if limit is not None]


def holder_scope(holder: models.ApiKey | models.Team) -> str:
    """Return the name of the level at which a key's or a team's own limits apply."""
    if isinstance(holder, models.Team):
        return team_scope(holder.pk, holder.scope_generation)
    return apikey_scope(holder.pk, holder.scope_generation)


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
