"""What a purge of the response cache answers, for a key, a team and everybody."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from keys.api.base import acting
from keys.models import ApiKey, Team
from keys.purge import EntriesRemain, cache_purge


class Purged(serializers.Serializer[Any]):
    """What became of the entries. None of them is read again, whether deleted or not."""

    deleted = serializers.IntegerField(allow_null=True, help_text="null: Valkey did not answer.")


def purge(holder: ApiKey | Team | None, request: Request) -> dict[str, int | None]:
    """Purge the cache of `holder`, of everybody for `None`."""
    try:
        return {"deleted": cache_purge(holder=holder, **acting(request))}
    except EntriesRemain:
        # No refusal: the purge holds, and a repeat would change nothing but the tidiness.
        return {"deleted": None}
