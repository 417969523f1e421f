"""Writes the audit trail: one row for each change, in the transaction of the change itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Model

from keys.core.addresses import Addresses, kept
from keys.models import ApiKey, AuditEvent

# Whoever can run manage.py has no account in the console.
CONSOLE = "manage.py"
# What has no row is done to all; its id is 0.
EVERYBODY = "everybody"
# Whoever is refused at the door has no name yet.
STRANGER = "stranger"

# The operator token that speaks, when one does: its owner's name would not tell the two apart.
_token: ContextVar[str] = ContextVar("token", default="")


@contextmanager
def spoken_by(token: str) -> Iterator[None]:
    """Name `token` in the rows of what is done inside."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def record(
    action: str,
    target: Model | None,
    acting_user: User | None,
    acting_address: str | None,
    detail: dict[str, Any],
) -> None:
    """Add what was done to `target`, `None` for everybody. `detail` must hold no secret.

    `acting_user` is `None` for a command or a task; `acting_address` is where a person came from.
    """
    AuditEvent.objects.create(
        actor=acting_user,
        actor_name=_actor_name(acting_user),
        action=action,
        target_type=target._meta.model_name or "" if target else EVERYBODY,
        target_id=target.pk if target else 0,
        detail=detail,
        address=_kept(acting_address),
    )


def record_stranger(
    action: str, account: User | None, address: str | None, detail: dict[str, Any]
) -> None:
    """Add what was tried at the door by someone unknown; `account` is the one they named, if any.

    `detail` must hold nothing of what was typed.
    """
    AuditEvent.objects.create(
        actor_name=STRANGER,
        action=action,
        target_type="user",
        target_id=account.pk if account else 0,
        detail=detail,
        address=_kept(address),
    )


def record_key(action: str, apikey: ApiKey, address: str | None) -> None:
    """Add what was done with the secret of `apikey`, whoever held it."""
    AuditEvent.objects.create(
        actor_name=f"key {apikey.prefix}",
        action=action,
        target_type="apikey",
        target_id=apikey.pk,
        detail={},
        address=_kept(address),
    )


def _kept(address: str | None) -> str | None:
    if not address:
        return None
    return kept(ip_address(address), Addresses(settings.CLIENT_ADDRESSES)) or None


def _actor_name(acting_user: User | None) -> str:
    if token := _token.get():
        return f"token {token}"
    return acting_user.get_username() if acting_user else CONSOLE
