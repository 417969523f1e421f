"""Every refusal of the management API, as RFC 9457 has it: `application/problem+json`.

`type` is a stable word for programs, `title` the kind, `detail` this case; `errors` names the
fields that are wrong, each by a JSON pointer into the body or `?name` for a query parameter.

    400 malformed            the body or the query is not what the description says
    401 unauthenticated      no token, or one that is unknown, expired or revoked
    403 forbidden            the token lacks the scope
    404 not-found            no such thing
    405, 406, 415            as HTTP has them
    409 conflict             it cannot be done in this state
    413 too-large            the body is over its bound
    422 refused              well formed, but a rule says no
    429 throttled            too many requests; `Retry-After` says when
    500 failed               our fault, and in our log
    503 unavailable          Postgres or Valkey did not answer; try again
"""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.core.exceptions import ValidationError as Refused
from django.db import OperationalError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from keys.windows import NotEmptied

TYPE = "urn:claudcode:problem:"
WORDS = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "refused",
    429: "throttled",
    500: "failed",
    503: "unavailable",
}
RETRY_AFTER_S = 5

logger = logging.getLogger(__name__)


class Conflict(exceptions.APIException):
    """It cannot be done in this state."""

    status_code = HTTPStatus.CONFLICT


class TooLarge(exceptions.APIException):
    """The body is over its bound."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class RuleBroken(exceptions.APIException):
    """Well formed, but a rule says no."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(exceptions.APIException):
    """What it needs did not answer."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    wait = RETRY_AFTER_S


class ProblemRenderer(JSONRenderer):
    """JSON by its other name."""

    media_type = "application/problem+json"


class FieldError(serializers.Serializer[Any]):
    """One value that is wrong."""

    pointer = serializers.CharField(help_text="Such as #/budgets/0/limit, or ?limit.")
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Why a request was refused (RFC 9457)."""

    type = serializers.CharField(help_text="Stable, such as urn:claudcode:problem:not-found.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldError(many=True, required=False)


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """Return the problem that `error` is. Called by REST framework for every exception."""
    known = _known(error)
    status = known.status_code
    title = HTTPStatus(status).phrase
    content = {"type": TYPE + WORDS.get(status, "refused"), "title": title, "status": int(status)}
    mark = "?" if context["request"].method == "GET" else "#/"
    if isinstance(known.detail, dict | list):
        errors = [{"pointer": mark + p, "detail": d} for p, d in _flat(known.detail)]
        content |= {"detail": "Some values are wrong; see errors.", "errors": errors}
    else:
        content |= {"detail": str(known.detail)}
    response = Response(content, status=status, headers=_headers(known))
    # Not as negotiated: whoever accepts JSON can read it, and it must be known as a problem.
    request = context["request"]
    request.accepted_renderer = ProblemRenderer()
    request.accepted_media_type = ProblemRenderer.media_type
    return response


def _known(error: Exception) -> exceptions.APIException:
    if isinstance(error, exceptions.APIException):
        return error
    if isinstance(error, Refused):
        return RuleBroken(_by_field(error))
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, ProtectedError):
        return Conflict("Other rows refer to it, so it stays.")
    if isinstance(error, NotEmptied):
        return Unavailable("Valkey does not answer: a window may not be empty yet. Try it again.")
    if isinstance(error, OperationalError):
        logger.warning("the management API was refused by Postgres", exc_info=error)
        return Unavailable("The database does not answer, or another change is in its way.")
    logger.error("the management API failed", exc_info=error)
    return exceptions.APIException("It failed on our side; our log says more.")


def _by_field(error: Refused) -> dict[str, Any] | list[str]:
    return error.message_dict if hasattr(error, "error_dict") else error.messages


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            here = "" if name == NON_FIELD_ERRORS or name == "non_field_errors" else str(name)
            yield from _flat(inner, _join(path, here))
    elif isinstance(detail, list):
        for number, inner in enumerate(detail):
            # A list of complaints about one value, or one entry for each value of a list.
            nested = isinstance(inner, dict | list)
            if not nested or inner:
                yield from _flat(inner, _join(path, str(number)) if nested else path)
    else:
        yield path, str(detail)


def _join(path: str, name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1")
    return f"{path}/{escaped}" if path and escaped else path or escaped


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers
