"""Every write of operators to alerts: targets, their secrets, replays. Each leaves one row.

A webhook's secret is made here and returned once; Postgres has it sealed, for its origin alone.
"""

import secrets
from typing import Any, TypedDict

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from keys import audit
from keys.changes import apply
from keys.models import Team
from operators.alerts.core.reach import BadTarget
from operators.alerts.delivery import send_test
from operators.alerts.models import AlertDelivery, AlertTarget, Channel
from operators.alerts.outgoing import check_target
from proxy.credentials import CredentialUnreadable, NoCredentialKey, reseal, seal

# 192 bits: nobody makes up a signature.
SECRET_BYTES = 24
SECRET_PREFIX = "whsec_"


class TargetChanges(TypedDict, total=False):
    """The fields of a target that an operator may change. The channel stays."""

    name: str
    address: str
    kinds: list[str]
    team: Team | None
    enabled: bool


@transaction.atomic
def target_add(
    *,
    name: str,
    channel: str,
    address: str,
    acting_user: User | None,
    acting_address: str | None = None,
    kinds: list[str] | None = None,
    team: Team | None = None,
    enabled: bool = True,
) -> tuple[AlertTarget, str]:
    """Make a target; return it with its secret, "" for e-mail. Raises `ValidationError`."""
    check_address(channel, address)
    target = AlertTarget(
        name=name, channel=channel, address=address, kinds=kinds or [], team=team, enabled=enabled
    )
    secret = _give_secret(target) if channel == Channel.WEBHOOK else ""
    target.full_clean()
    target.save()
    detail = {"name": name, "channel": channel, "address": target.masked, "kinds": target.kinds}
    audit.record("alert_target.add", target, acting_user, acting_address, detail)
    return target, secret


@transaction.atomic
def target_update(
    *,
    target: AlertTarget,
    changes: TargetChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> str:
    """Change fields; return the new secret if the address is another, else "".

    What was shared with one receiver is not sent to the next. Raises `ValidationError`.
    """
    stored = AlertTarget.objects.select_for_update().get(pk=target.pk)
    masked, secret = stored.masked, ""
    detail: dict[str, Any] = apply(stored, changes)
    if "address" in detail:
        check_address(stored.channel, stored.address)
        detail["address"] = [masked, stored.masked]
        secret = _give_secret(stored) if stored.channel == Channel.WEBHOOK else ""
    if detail:
        stored.full_clean()
        stored.save()
        audit.record("alert_target.update", stored, acting_user, acting_address, detail)
    return secret


@transaction.atomic
def target_renew_secret(
    *, target: AlertTarget, acting_user: User | None, acting_address: str | None = None
) -> str:
    """Replace the secret of a webhook and return the new one. Raises `ValidationError`."""
    stored = AlertTarget.objects.select_for_update().get(pk=target.pk)
    if stored.channel != Channel.WEBHOOK:
        raise ValidationError("Only webhooks have a secret.")
    secret = _give_secret(stored)
    stored.save(update_fields=["secret"])
    audit.record("alert_target.renew_secret", stored, acting_user, acting_address, {})
    return secret


@transaction.atomic
def secrets_rotate(
    *, acting_user: User | None, acting_address: str | None = None
) -> tuple[int, int, list[str]]:
    """Seal every secret of a webhook by the first of CLAUDCODE_CREDENTIAL_KEYS. Safe to run again.

    Returns how many were sealed anew, how many were already, and whose nobody can open.
    """
    resealed, current, unreadable = 0, 0, []
    hooks = AlertTarget.objects.select_for_update(of=("self",)).filter(channel=Channel.WEBHOOK)
    for stored in hooks.order_by("pk"):
        try:
            sealed = reseal(stored.secret)
        except CredentialUnreadable:
            unreadable.append(stored.name)
            continue
        if sealed == stored.secret:
            current += 1
            continue
        stored.secret = sealed
        stored.save(update_fields=["secret"])
        detail = {"name": stored.name}
        audit.record("alert_target.rotate", stored, acting_user, acting_address, detail)
        resealed += 1
    return resealed, current, unreadable


@transaction.atomic
def target_delete(
    *, target: AlertTarget, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Delete a target with its deliveries; the alerts stay."""
    detail = {"name": target.name, "address": target.masked}
    audit.record("alert_target.delete", target, acting_user, acting_address, detail)
    target.delete()


def target_test(
    *, target: AlertTarget, acting_user: User | None, acting_address: str | None = None
) -> str:
    """Send a test now; return what went wrong, "" if nothing did."""
    error = send_test(target)
    # After the call: no transaction waits for a receiver.
    detail = {"error": error} if error else {}
    audit.record("alert_target.test", target, acting_user, acting_address, detail)
    return error


@transaction.atomic
def delivery_replay(
    *, delivery: AlertDelivery, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Try a dead delivery again from the start; return whether it was dead."""
    dead = AlertDelivery.objects.filter(pk=delivery.pk, dead_at__isnull=False)
    if not dead.update(attempts=0, dead_at=None, next_at=timezone.now(), last_error=""):
        return False
    audit.record("alert_delivery.replay", delivery, acting_user, acting_address, {})
    return True


def check_address(channel: str, address: str) -> None:
    """Raise `ValidationError` if nothing may be sent to `address`."""
    if channel == Channel.EMAIL:
        try:
            validate_email(address)
        except ValidationError as error:
            raise ValidationError({"address": error.messages}) from error
        return
    try:
        check_target(address)
    except BadTarget as error:
        raise ValidationError({"address": str(error)}) from error


def _give_secret(target: AlertTarget) -> str:
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    try:
        target.secret = seal(secret, target.address)
    except NoCredentialKey as error:
        raise ValidationError(
            "Set CLAUDCODE_CREDENTIAL_KEYS first: the webhook's secret is sealed with it."
        ) from error
    return secret
