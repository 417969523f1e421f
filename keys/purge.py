"""Empties the response cache: what serves one key, one team with its keys, or everybody.

An entry is called `{s07}:r:k12.3:<sha256>`, where 3 is the cache generation of key 12. A purge
first moves the generation: within a second no gateway reads what was stored before, and what is
being written at this moment goes where nobody looks. Then entries are deleted. What was written
too late for that is read by nobody and expires by itself.

A key of a team that shares its cache has no entries of its own: its purge is that of all the team
shares. Whatever this key could have been answered with is gone.
"""

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from redis import RedisError

from keys import audit, valkey
from keys.leads import require_lead
from keys.models import ApiKey, Team
from keys.services.announce import announce, announce_everything

# Names that Valkey looks at in one call, which holds everybody else up: a millisecond or less.
NAMES_AT_ONCE = 1_000

_ENTRY = re.compile(rb"\{s\d+\}:r:(?P<holder>[kt]\d+)\.")


class EntriesRemain(Exception):
    """Valkey did not answer. What is left of the entries nobody reads; it expires by itself."""


def cache_purge(
    *,
    holder: ApiKey | Team | None,
    acting_user: User | None,
    acting_address: str | None = None,
    client: Any = None,
) -> int:
    """Empty the cache of a key, of a team and its keys, or with `None` of all; return how many
    entries were deleted.

    Raises `EntriesRemain` when they could not be: the purge holds all the same. To repeat it is
    harmless. `client` is another client of Valkey than this process', one of a cluster perhaps.
    """
    require_lead(acting_user, holder)
    apikeys, teams = _served(holder)
    names = None
    if holder is not None:
        names = {f"k{pk}" for pk in apikeys.values_list("pk", flat=True)}
        names |= {f"t{pk}" for pk in teams.values_list("pk", flat=True)}
    with transaction.atomic():
        moved = {"cache_generation": F("cache_generation") + 1}
        detail = {"keys": apikeys.update(**moved), "teams": teams.update(**moved)}
        audit.record("cache.purge", holder, acting_user, acting_address, detail)
        if isinstance(holder, ApiKey) and not detail["teams"]:
            announce(holder)
        else:
            announce_everything()
    try:
        return _delete(client or valkey.client(), names)
    except RedisError as error:
        raise EntriesRemain from error


def _served(holder: ApiKey | Team | None) -> tuple[QuerySet[ApiKey], QuerySet[Team]]:
    """Return the keys and the teams whose caches a purge of `holder` empties."""
    if isinstance(holder, Team):
        return ApiKey.objects.filter(team=holder), Team.objects.filter(pk=holder.pk)
    if isinstance(holder, ApiKey):
        shared = Team.objects.filter(apikeys=holder, cache_shared=True)
        return ApiKey.objects.filter(pk=holder.pk), shared
    return ApiKey.objects.all(), Team.objects.all()


def _delete(client: Any, names: Collection[str] | None) -> int:
    """Delete the entries of these keys and teams (`k12`, `t3`), or all; return how many."""
    # On every node of a cluster, if it is a client of one.
    found = client.scan_iter(match=_pattern(names), count=NAMES_AT_ONCE)
    wanted = (name for name in found if _is_entry(name, names))
    return sum(client.unlink(*some) for some in _batches(wanted))


def _pattern(names: Collection[str] | None) -> str:
    # One holder is left to Valkey to find; several are cheaper found here, in a single pass.
    holder = next(iter(names)) + ".*" if names is not None and len(names) == 1 else "*"
    return "{s*}:r:" + holder


def _is_entry(name: bytes, names: Collection[str] | None) -> bool:
    match = _ENTRY.match(name)
    return match is not None and (names is None or match["holder"].decode() in names)


def _batches(names: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(names, NAMES_AT_ONCE)):
        yield batch
