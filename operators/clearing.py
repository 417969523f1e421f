"""Deletes what has expired and nobody else deletes: sessions, kept answers, counts of failures.

What is kept on purpose is not touched: ledger and audit trail are for ever, alerts go by themselves
(`operators.alerts.raising`). Each call deletes a bounded number of rows; the next one goes on.
"""

import datetime as dt

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from keys.api.idempotency import KEPT
from keys.api.models import IdempotentAnswer

# Of each kind in one call. A flood of sign-ins makes as many rows in some minutes; a statement for
# a thousand takes some milliseconds.
CLEARED_MAX = 20_000
CLEARED_AT_ONCE = 1_000


def clear(now: dt.datetime | None = None) -> dict[str, int]:
    """Delete what has expired, and return how many rows of each kind."""
    at = now or timezone.now()
    locked_since = at - dt.timedelta(seconds=settings.SIGN_IN_LOCK_S)
    return {
        "sessions": _delete(Session.objects.filter(expire_date__lt=at)),
        "answers": _delete(IdempotentAnswer.objects.filter(created_at__lt=at - KEPT)),
        "failures": _delete(AccessAttempt.objects.filter(attempt_time__lt=locked_since)),
    }


def _delete(rows: "QuerySet[Model]") -> int:
    deleted = 0
    while deleted < CLEARED_MAX:
        some = _delete_some(rows)
        deleted += some
        if some < CLEARED_AT_ONCE:
            break
    return deleted


@transaction.atomic
def _delete_some(rows: "QuerySet[Model]") -> int:
    # What somebody is using at this moment is left to them.
    found = rows.select_for_update(skip_locked=True, of=("self",)).order_by()
    pks = list(found.values_list("pk", flat=True)[:CLEARED_AT_ONCE])
    rows.model._default_manager.filter(pk__in=pks).delete()
    return len(pks)
