"""Rotation: a key gets a new secret, and the one before works on until the end of its grace.

A key has at most two secrets. A rotation during the grace of another ends that one at once.
"""

import datetime as dt

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from keys import audit
from keys.core.secret import Secret
from keys.leads import require_lead
from keys.models import ApiKey
from keys.services.announce import announce
from keys.services.apikeys import draw_secret, require_not_revoked

GRACE_DEFAULT = dt.timedelta(days=1)
# A secret that was worth replacing should not go on for longer.
GRACE_MAX = dt.timedelta(days=30)


@transaction.atomic
def apikey_rotate(
    *,
    apikey: ApiKey,
    acting_user: User | None,
    acting_address: str | None = None,
    grace: dt.timedelta = GRACE_DEFAULT,
) -> tuple[ApiKey, Secret]:
    """Give a key a new secret; return the key as stored and the secret, which is stored nowhere.

    Both secrets work for `grace`; with none, the one before ends at once. Limits, budgets, cache
    and what was used stay the key's. Raises `ValidationError` for a revoked key, for an expired
    one, and for a grace longer than `GRACE_MAX`.
    """
    require_lead(acting_user, apikey)
    if not dt.timedelta(0) <= grace <= GRACE_MAX:
        raise ValidationError({"grace": f"Both secrets may work for 0 to {GRACE_MAX.days} days."})
    stored, now = ApiKey.objects.select_for_update(of=("self",)).get(pk=apikey.pk), timezone.now()
    require_not_revoked(stored)
    if stored.expires_at is not None and stored.expires_at <= now:
        raise ValidationError("The key is expired. Extend it first.")
    secret, known = draw_secret(), stored.digests
    _forget_previous(stored)
    if grace:
        stored.previous_prefix, stored.previous_last_four = stored.prefix, stored.last_four
        stored.previous_digest, stored.previous_expires_at = stored.digest, now + grace
    detail = {
        "prefix": [stored.prefix, secret.prefix],
        "last_four": [stored.last_four, secret.last_four],
        "previous_expires_at": stored.previous_expires_at,
    }
    stored.prefix, stored.last_four = secret.prefix, secret.last_four
    stored.digest = secret.digest
    stored.save()
    audit.record("apikey.rotate", stored, acting_user, acting_address, detail)
    announce(stored, *known)
    return stored, secret


@transaction.atomic
def apikey_end_grace(
    *, apikey: ApiKey, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse the secret before the last rotation from now on; return whether there was one."""
    require_lead(acting_user, apikey)
    stored = ApiKey.objects.select_for_update(of=("self",)).get(pk=apikey.pk)
    if stored.previous_digest is None:
        return False
    detail, known = {"prefix": stored.previous_prefix}, stored.digests
    _forget_previous(stored)
    stored.save()
    audit.record("apikey.end_grace", stored, acting_user, acting_address, detail)
    announce(stored, *known)
    return True


def _forget_previous(apikey: ApiKey) -> None:
    apikey.previous_prefix, apikey.previous_last_four = "", ""
    apikey.previous_digest, apikey.previous_expires_at = None, None
