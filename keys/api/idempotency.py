"""A write that carries an `Idempotency-Key` takes place once, however often it is sent.

The answer is stored in the transaction of the write, under a unique name. So there is an answer
exactly when the write took place; a process that dies leaves neither, and of two requests at once
the second waits for the first. It holds in Postgres: Valkey could evict it. Refusals are not
stored, for they changed nothing. A secret is not stored: a repeat has `null` in its place.
"""

import datetime as dt
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ValidationError

from keys.api.models import IDEMPOTENCY_KEY_LENGTH_MAX, IdempotentAnswer, OperatorToken
from keys.api.problems import RuleBroken

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = dt.timedelta(hours=24)
# What answers hold but nobody may read twice.
SECRETS = frozenset({"secret"})
# Removed by each write, so that the table is as small as a day without a task of its own.
REMOVED_AT_ONCE = 20
# Another request with the same key is at work; its client waits as long for a lost connection.
WAIT_MS_MAX = 5_000

Handler = Callable[..., Response]


def once(handler: Handler, request: Request, *args: Any, **kwargs: Any) -> Response:
    """Return what `handler` answers, or what it answered to this key of this token before.

    Raises `RuleBroken` when the key came with another request.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return handler(request, *args, **kwargs)
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX or not key.isascii():
        complaint = f"1 to {IDEMPOTENCY_KEY_LENGTH_MAX} ASCII characters."
        raise ValidationError({HEADER: [complaint]})
    made = None
    try:
        with transaction.atomic():
            made, kept = _claim(request.auth, key, _fingerprint(request))
            if kept is not None:
                return _replay(kept)
            response = handler(request, *args, **kwargs)
            made.status, made.content = response.status_code, _without_secrets(response.data)
            made.save(update_fields=["status", "content"])
            return response
    except Exception:
        # After the commit something did not follow, an emptied window perhaps: a repeat must try.
        if made is not None:
            IdempotentAnswer.objects.filter(pk=made.pk).delete()
        raise


def _claim(
    token: OperatorToken, key: str, fingerprint: str
) -> tuple[IdempotentAnswer | None, IdempotentAnswer | None]:
    """Return the new row of this request, or the kept one of an earlier request."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {WAIT_MS_MAX}")
    _remove_old(token, key)
    # Waits for whoever is inserting the same.
    IdempotentAnswer.objects.bulk_create(
        [IdempotentAnswer(token=token, key=key, fingerprint=fingerprint)], ignore_conflicts=True
    )
    row = IdempotentAnswer.objects.select_for_update().get(token=token, key=key)
    if row.fingerprint != fingerprint:
        raise RuleBroken(f"This {HEADER} came with another request before.")
    return (row, None) if row.status == 0 else (None, row)


def _replay(kept: IdempotentAnswer) -> Response:
    content = None if kept.status == HTTPStatus.NO_CONTENT else kept.content
    return Response(content, status=kept.status, headers={REPLAYED: "true"})


def _remove_old(token: OperatorToken, key: str) -> None:
    old = IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEPT)
    old.filter(token=token, key=key).delete()
    some = old.select_for_update(skip_locked=True).order_by("created_at")[:REMOVED_AT_ONCE]
    IdempotentAnswer.objects.filter(pk__in=[row.pk for row in some.only("pk")]).delete()


def _fingerprint(request: Request) -> str:
    # Keyed: a body may hold a credential, and what is stored must not let anyone try guesses.
    said = f"{request.method} {request.get_full_path()}\n".encode() + request._request.body
    return salted_hmac("keys.api.idempotency", said, algorithm="sha256").hexdigest()


def _without_secrets(content: Any) -> Any:
    if isinstance(content, list):
        return [_without_secrets(each) for each in content]
    if not isinstance(content, dict):
        return content
    return {k: None if k in SECRETS else _without_secrets(v) for k, v in content.items()}
