"""Brings deliveries to their targets: webhooks side by side, mails one after the other.

A delivery is claimed by moving its `next_at` on, in one statement; a worker that dies with it loses
nothing but that time. So a call may come twice, and its `id` tells. What fails is tried again at
growing distances, and is given up as dead after the last of them, for an operator to replay.
"""

import asyncio
import datetime as dt
import json
import random
import smtplib
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from operators.alerts.core.rules import over_text
from operators.alerts.core.webhook import retry_after
from operators.alerts.models import Alert, AlertDelivery, AlertTarget, Channel, Event
from operators.alerts.outgoing import NotSent, post
from proxy.credentials import CredentialUnreadable, unseal

AT_ONCE = 20
# Longer than all of a batch takes: its calls go side by side, and a mail server that is away is
# asked once.
CLAIM = dt.timedelta(minutes=5)
ERROR_CHARS_MAX = 300
SUBJECT_CHARS_MAX = 120


def deliver(now: dt.datetime | None = None) -> int:
    """Try what is due, a batch at most; return how many were tried."""
    due = _claim(now or timezone.now())
    hooks = [row for row in due if row.target.channel == Channel.WEBHOOK]
    mails = [row for row in due if row.target.channel == Channel.EMAIL]
    errors = send_hooks([(row.target, body(row.alert, row.event)) for row in hooks])
    for row, error in zip(hooks, errors, strict=True):
        _note(row, error)
    for row, error in zip(mails, _send_mails(mails), strict=True):
        _note(row, error)
    return len(due)


def send_hooks(calls: Sequence[tuple[AlertTarget, bytes]]) -> list[str]:
    """Call webhooks side by side; return for each what went wrong, "" if nothing did."""

    async def call(target: AlertTarget, content: bytes) -> str:
        try:
            await post(target.address, unseal(target.secret, target.address), content)
        except (NotSent, CredentialUnreadable) as error:
            return str(error)
        return ""

    async def call_all() -> list[str]:
        return await asyncio.gather(*[call(target, content) for target, content in calls])

    return asyncio.run(call_all()) if calls else []


def send_test(target: AlertTarget) -> str:
    """Send `target` a message that says it is a test; return what went wrong, "" if nothing."""
    text = "This is a test of ClaudCode's alerts. Nothing is wrong."
    if target.channel == Channel.EMAIL:
        return _send([_mail(target, "test", text)])[0]
    content = json.dumps({"type": "test", "id": "test", "text": text}).encode()
    return send_hooks([(target, content)])[0]


def body(alert: Alert, event: str = Event.RAISED) -> bytes:
    """Return what a webhook is told of `alert`, the same bytes at every attempt."""
    said: dict[str, Any] = {
        "type": f"alert.{event}",
        "id": f"alert_{alert.pk}",
        "kind": alert.kind,
        "subject": {
            "type": alert.subject_type,
            "id": alert.subject_id,
            "name": alert.subject_name,
        },
        "team_id": alert.team_id,
        "threshold": alert.threshold or None,
        "window_start": alert.slot.astimezone(dt.UTC).isoformat(),
        "raised_at": alert.raised_at.astimezone(dt.UTC).isoformat(),
        "text": alert.text,
    }
    if event == Event.RESOLVED and alert.resolved_at is not None:
        said["resolved_at"] = alert.resolved_at.astimezone(dt.UTC).isoformat()
        said["text"] = over_text(alert.text, alert.raised_at)
    return json.dumps(said, separators=(",", ":")).encode()


@transaction.atomic
def _claim(now: dt.datetime) -> list[AlertDelivery]:
    waiting = AlertDelivery.objects.filter(next_at__lte=now, target__enabled=True)
    heard = AlertDelivery.objects.filter(
        alert=OuterRef("alert"),
        target=OuterRef("target"),
        event=Event.RAISED,
        delivered_at__isnull=False,
    )
    rows = list(
        waiting.filter(Q(event=Event.RAISED) | Exists(heard))
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("alert", "target")
        .order_by("next_at")[:AT_ONCE]
    )
    AlertDelivery.objects.filter(pk__in=[row.pk for row in rows]).update(next_at=now + CLAIM)
    return rows


def _note(row: AlertDelivery, error: str) -> None:
    """Write down how an attempt ended, unless somebody else has ended it meanwhile."""
    now, attempts = timezone.now(), row.attempts + 1
    ended: dict[str, Any] = {"attempts": attempts, "last_error": error[:ERROR_CHARS_MAX]}
    if not error:
        ended |= {"next_at": None, "delivered_at": now}
    elif (wait := retry_after(attempts, random.random())) is not None:
        ended |= {"next_at": now + wait}
    else:
        ended |= {"next_at": None, "dead_at": now}
    mine = AlertDelivery.objects.filter(pk=row.pk, attempts=row.attempts, next_at__isnull=False)
    mine.update(**ended)


def _send_mails(rows: Sequence[AlertDelivery]) -> list[str]:
    return _send([_mail_of(row) for row in rows])


def _mail_of(row: AlertDelivery) -> EmailMessage:
    alert = row.alert
    if row.event == Event.RESOLVED:
        return _mail(row.target, f"over: {alert.kind}", over_text(alert.text, alert.raised_at))
    return _mail(row.target, alert.kind, alert.text)


def _mail(target: AlertTarget, kind: str, text: str) -> EmailMessage:
    return EmailMessage(
        " ".join(f"[ClaudCode] {kind}: {text}"[:SUBJECT_CHARS_MAX].split()),
        text + (f"\n\n{settings.PUBLIC_URL}/admin/" if settings.PUBLIC_URL else ""),
        settings.DEFAULT_FROM_EMAIL,
        [target.address],
    )


def _send(mails: Sequence[EmailMessage]) -> list[str]:
    if not mails:
        return []
    if not settings.EMAIL_URL:
        return ["CLAUDCODE_EMAIL_URL is not set"] * len(mails)
    connection = get_connection()
    try:
        connection.open()
    except OSError as error:  # What smtplib raises is one too.
        connection.close()  # It may have got as far as the password.
        return [_mail_error(error)] * len(mails)
    try:
        return [_sent(connection, mail) for mail in mails]
    finally:
        connection.close()


def _sent(connection: Any, mail: EmailMessage) -> str:
    try:
        connection.send_messages([mail])
    except OSError as error:
        return _mail_error(error)
    return ""


def _mail_error(error: OSError) -> str:
    # Not the server's own words, which may repeat what was said to it.
    code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
    return f"the mail server did not take it: {type(error).__name__}{code}"
