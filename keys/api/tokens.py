"""Operator tokens: issue, revoke, recognise.

Each write is one transaction with its audit row. A secret is returned once and stored nowhere.
"""

import datetime as dt
import secrets
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from keys import audit
from keys.api.models import OperatorToken
from keys.api.scopes import SCOPES, UnknownScope, expand
from keys.changes import require_future
from keys.core.secret import (
    ALPHABET,
    OPERATOR_MARK,
    RANDOM_LENGTH,
    Secret,
    compose,
    digest,
    well_formed,
)

# Enough to see that a token is in use, and one write a minute at most.
LAST_USED_EVERY = dt.timedelta(minutes=1)


@transaction.atomic
def operatortoken_issue(
    *,
    name: str,
    scopes: Iterable[str],
    acting_user: User | None,
    acting_address: str | None = None,
    expires_at: dt.datetime | None = None,
) -> tuple[OperatorToken, Secret]:
    """Make a token and return it with its secret, which cannot be had again.

    Raises `ValidationError` also for a scope that `acting_user` has no right to give.
    """
    secret = compose(
        "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH)), mark=OPERATOR_MARK
    )
    token = OperatorToken(
        name=name,
        prefix=secret.prefix,
        last_four=secret.last_four,
        digest=secret.digest,
        scopes=grantable(scopes, acting_user),
        expires_at=expires_at,
        created_by=acting_user,
    )
    require_future(expires_at)
    token.full_clean()
    token.save()
    detail = {"name": name, "prefix": secret.prefix, "scopes": token.scopes}
    detail |= {"expires_at": expires_at}
    audit.record("operatortoken.issue", token, acting_user, acting_address, detail)
    return token, secret


@transaction.atomic
def operatortoken_revoke(
    *, token: OperatorToken, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Refuse `token` from the next request on; return whether this call was the one that did it."""
    stored = OperatorToken.objects.filter(pk=token.pk, revoked_at=None)
    if not stored.update(revoked_at=timezone.now()):
        return False  # Someone else got here first; their audit row stands.
    detail = {"name": token.name, "prefix": token.prefix}
    audit.record("operatortoken.revoke", token, acting_user, acting_address, detail)
    return True


def operatortoken_find(text: str) -> OperatorToken | None:
    """Return the live token with this secret, of an active account, and note that it is used."""
    if not well_formed(text, mark=OPERATOR_MARK):
        return None
    found = OperatorToken.objects.select_related("created_by").filter(digest=digest(text)).first()
    if found is None or not found.live:
        return None
    if found.created_by is not None and not found.created_by.is_active:
        return None
    _note_use(found)
    return found


def may(token: OperatorToken, scope: str) -> bool:
    """Return whether `token` has `scope`, and whoever gave it may still do that themselves."""
    if scope not in token.scopes:
        return False
    return token.created_by is None or token.created_by.has_perms(SCOPES[scope])


def grantable(scopes: Iterable[str], giver: User | None) -> list[str]:
    """Return the scopes that `scopes` name. Raises `ValidationError` for one that does not exist
    or is not `giver`'s to give; `None` may give all.
    """
    try:
        wanted = expand(scopes)
    except UnknownScope as error:
        raise ValidationError({"scopes": str(error)}) from error
    if not wanted:
        raise ValidationError({"scopes": "Name at least one scope."})
    beyond = [s for s in wanted if giver is not None and not giver.has_perms(SCOPES[s])]
    if beyond:
        raise ValidationError({"scopes": f"You may not do this yourself: {', '.join(beyond)}."})
    return wanted


def _note_use(token: OperatorToken) -> None:
    now = timezone.now()
    stale = now - LAST_USED_EVERY
    if token.last_used_at is not None and token.last_used_at > stale:
        return
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=stale)
    OperatorToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
