"""Tells gateways of a change, after the commit: one that rereads sooner would cache the old state.

A key is announced by all its digests. What lies over many keys is announced as everything.
"""

from functools import partial

from django.db import transaction

from keys import invalidation
from keys.models import ApiKey, Plan, Team


def announce(holder: ApiKey | Plan | Team, *forgotten: str | None) -> None:
    """Announce a change of one key, or of a plan or a team and so of all their keys.

    `forgotten` are digests by which the key was known until now, if any.
    """
    if not isinstance(holder, ApiKey):
        announce_everything()
        return
    for digest in dict.fromkeys([*holder.digests, *forgotten]):
        if digest is not None:
            transaction.on_commit(partial(invalidation.publish, digest))


def announce_everything() -> None:
    """Announce a change that may touch any key."""
    transaction.on_commit(partial(invalidation.publish, invalidation.EVERYTHING))
