"""Operator tokens: issue, revoke, recognise.

Each write is one transaction with its audit row. A secret is returned once and stored nowhere.

A token that issues another over the API gives no scope that it lacks, no longer life than its own,
and not the right to issue; what it issued is revoked with it. So whoever stole a token is out, with
all that they made of it, when that token is revoked.
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

# The scope by which tokens issue and revoke tokens. No token hands it on.
ISSUE = "tokens:write"
# Live ones that one token may have issued: each has a throttle of its own, so a bound is needed.
ISSUED_MAX = 50


@transaction.atomic
def operatortoken_issue(
    *,
    name: str,
    scopes: Iterable[str],
    acting_user: User | None,
    acting_address: str | None = None,
    expires_at: dt.datetime | None = None,
    issued_by: OperatorToken | None = None,
) -> tuple[OperatorToken, Secret]:
    """Make a token and return it with its secret, which cannot be had again.

    Raises `ValidationError` also for a scope that `acting_user` has no right to give, and for what
    goes beyond `issued_by`, the token that asks for it over the API.
    """
    wanted = grantable(scopes, acting_user)
    if issued_by is not None:
        _require_within(issued_by, wanted, expires_at)
    secret = compose(
        "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH)), mark=OPERATOR_MARK
    )
    token = OperatorToken(
        name=name,
        prefix=secret.prefix,
        last_four=secret.last_four,
        digest=secret.digest,
        scopes=wanted,
        expires_at=expires_at,
        created_by=acting_user,
        issued_by=issued_by,
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
    """Refuse `token`, and what it issued, from the next request on; return whether this call was
    the one that did it. Each token that ends leaves its row.
    """
    if not _revoke(token, acting_user, acting_address):
        return False  # Someone else got here first; their audit row stands.
    # After the row is locked: who issues by this token holds that lock until its token is there.
    for issued in token.issued.filter(revoked_at=None).order_by("pk"):
        _revoke(issued, acting_user, acting_address)
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


def _revoke(token: OperatorToken, acting_user: User | None, acting_address: str | None) -> bool:
    stored = OperatorToken.objects.filter(pk=token.pk, revoked_at=None)
    if not stored.update(revoked_at=timezone.now()):
        return False
    detail = {"name": token.name, "prefix": token.prefix}
    audit.record("operatortoken.revoke", token, acting_user, acting_address, detail)
    return True


def _require_within(
    issuer: OperatorToken, scopes: Iterable[str], expires_at: dt.datetime | None
) -> None:
    """Raise `ValidationError` for a token that `issuer` must not issue."""
    # Locked until the new one is stored: a revocation meanwhile waits, and ends both.
    # No key of it changes: writes of rows that refer to it go on.
    stored = OperatorToken.objects.select_for_update(no_key=True).get(pk=issuer.pk)
    if not stored.live:
        raise ValidationError("The token that asks for it has ended.")
    if beyond := [scope for scope in scopes if scope not in stored.scopes]:
        told = f"The token that asks for it does not have them: {', '.join(beyond)}."
        raise ValidationError({"scopes": told})
    if ISSUE in scopes:
        raise ValidationError({"scopes": f"A token cannot hand on {ISSUE}."})
    ends = stored.expires_at
    if ends is not None and (expires_at is None or expires_at > ends):
        told = f"The token that asks for it ends at {ends.isoformat()}, and so must this one."
        raise ValidationError({"expires_at": told})
    live = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    if stored.issued.filter(live, revoked_at=None).count() >= ISSUED_MAX:
        raise ValidationError(f"{ISSUED_MAX} tokens that it issued are live. Revoke some first.")


def _note_use(token: OperatorToken) -> None:
    now = timezone.now()
    stale = now - LAST_USED_EVERY
    if token.last_used_at is not None and token.last_used_at > stale:
        return
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=stale)
    OperatorToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
