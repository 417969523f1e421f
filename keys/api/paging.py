"""Lists by pages without numbers: each page names where the next one begins.

A page is a range of an index, so the thousandth costs what the first does, nothing is counted, and
rows that come in meanwhile move nobody. The mark is the last row's place in the order.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError as Unreadable
from django.db.models import Model, Q, QuerySet
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.fields import QueryInteger, Strict

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
MARK_LENGTH_MAX = 300


class Filters(Strict):
    """What every list may be asked for. A list adds its own, and turns them into a query."""

    limit = QueryInteger(
        min_value=1, max_value=LIMIT_MAX, default=LIMIT_DEFAULT, help_text="Rows of a page."
    )
    after = serializers.CharField(
        required=False, max_length=MARK_LENGTH_MAX, help_text="The `next` of the page before."
    )


class KeysetPagination(BasePagination):
    """Pages in the order of the view's `order`, whose last field is unique."""

    def paginate_queryset(
        self,
        queryset: QuerySet[Any],
        request: Request,  # noqa: ARG002
        view: Any = None,
    ) -> list[Any]:
        asked: Mapping[str, Any] = view.asked
        order: Sequence[str] = view.order
        rows = queryset.order_by(*order)
        if mark := asked.get("after"):
            rows = rows.filter(_beyond(queryset.model, order, mark))
        found = list(rows[: asked["limit"] + 1])
        page = found[: asked["limit"]]
        self._next = _mark(page[-1], order) if len(found) > len(page) else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "next": self._next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {
                    "type": ["string", "null"],
                    "description": "Give it as `after`; null: this is the last page.",
                },
            },
        }


def _mark(row: Model, order: Sequence[str]) -> str:
    place = [_written(getattr(row, _name(field))) for field in order]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _written(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)


def _beyond(model: type[Model], order: Sequence[str], mark: str) -> Q:
    """Return the condition of the rows after `mark`: (a, b) beyond (x, y) in the order."""
    place = _read(model, order, mark)
    beyond, same = Q(), Q()
    for field, value in zip(order, place, strict=True):
        side = "lt" if field.startswith("-") else "gt"
        beyond |= same & Q(**{f"{_name(field)}__{side}": value})
        same &= Q(**{_name(field): value})
    if len(order) == 1:
        return beyond
    # Said once more in a way that an index of the first field alone understands.
    side = "lte" if order[0].startswith("-") else "gte"
    return Q(**{f"{_name(order[0])}__{side}": place[0]}) & beyond


def _read(model: type[Model], order: Sequence[str], mark: str) -> list[Any]:
    try:
        padded = mark + "=" * (-len(mark) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(place, list) or len(place) != len(order):
            raise ValueError(place)
        pairs = zip(order, place, strict=True)
        return [_field(model, name).clean(value, None) for name, value in pairs]
    except (ValueError, TypeError, RecursionError, binascii.Error, Unreadable) as error:
        complaint = {"after": ["It is not the `next` of a page of this list."]}
        raise serializers.ValidationError(complaint) from error


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if _name(name) == "pk" else model._meta.get_field(_name(name))


def _name(field: str) -> str:
    return field.removeprefix("-")
