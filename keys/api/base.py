"""What every view of the management API does: one token, one scope, strict input, one audit row.

Reads are generic; each write is a method that calls the service which the console calls, and
answers with the row as it is stored.
"""

from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from keys import audit
from keys.api import idempotency
from keys.api.authentication import SAFE_METHODS
from keys.api.fields import BODY_BYTES_MAX, Strict
from keys.api.paging import Filters
from keys.api.problems import TooLarge


class ServiceViewSet(GenericViewSet[Any]):
    """Rows of one kind: `area` names the scopes, `filters` what a list may be asked for."""

    area: str | None = None
    filters: type[Filters] = Filters
    order: tuple[str, ...] = ("-pk",)
    lookup_value_converter = "int"
    # Actions whose scope is another than to read or to write the area.
    scopes: Mapping[str, str] = {}
    # Repeating these is harmless, and their answer is not worth keeping: an action's name.
    unkept: frozenset[str] = frozenset()
    body_bytes_max = BODY_BYTES_MAX

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = (request.method or "").lower()
        if request.method in SAFE_METHODS or not hasattr(self, method):
            return
        _read_body(request, self.body_bytes_max)
        # Here, and not by a decorator, so that no write can be without it.
        setattr(self, method, partial(self._write, getattr(self, method)))

    def list(self, request: Request, **_path: Any) -> Response:
        self.asked = self.asked_for(self.filters, request)
        rows = self.narrowed(self.get_queryset(), self.asked)
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(self.shown(page, many=True))

    def retrieve(self, request: Request, **_path: Any) -> Response:
        self.asked_for(Nothing, request)
        return Response(self.shown(self.get_object()))

    def narrowed(self, rows: QuerySet[Any], asked: Mapping[str, Any]) -> QuerySet[Any]:  # noqa: ARG002
        """Return those of `rows` that the query `asked` for."""
        return rows

    def shown(self, rows: Any, *, many: bool = False) -> Any:
        """Return one row, or several, as the API shows them."""
        return self.get_serializer(rows, many=many).data

    def reread(self, pk: Any) -> Any:
        """Return the row as it is stored, as the API shows it."""
        return self.shown(self.get_queryset().get(pk=pk))

    def asked_for(self, query: type[serializers.Serializer[Any]], request: Request) -> Any:
        """Return what the query string says by `query`. Raises `ValidationError`."""
        # As a plain mapping: of a form, an empty value would count as none.
        read = query(data=dict(request.query_params.items()))
        read.is_valid(raise_exception=True)
        return read.validated_data

    def _write(
        self, handler: Callable[..., Response], request: Request, *args: Any, **kwargs: Any
    ) -> Response:
        self.asked_for(Nothing, request)
        with audit.spoken_by(str(request.auth)):
            if self.action in self.unkept:
                return handler(request, *args, **kwargs)
            return idempotency.once(handler, request, *args, **kwargs)


def acting(request: Request) -> dict[str, Any]:
    """Return the arguments by which every service learns who acts, and from where."""
    return {"acting_user": request.auth.created_by, "acting_address": _address(request)}


def body(serializer: type[serializers.Serializer[Any]], request: Request, **kwargs: Any) -> Any:
    """Return what the body says by `serializer`. Raises `ValidationError`."""
    read = serializer(data=request.data, **kwargs)
    read.is_valid(raise_exception=True)
    return read.validated_data


class Nothing(Strict):
    """No query parameter at all."""


def _read_body(request: Request, bytes_max: int) -> None:
    django_request = request._request
    content = django_request.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise TooLarge(f"The body is over {bytes_max} bytes.")
    django_request._body = content
    # A body in chunks has no length, and REST framework would take it for none.
    django_request.META["CONTENT_LENGTH"] = str(len(content))


def _address(request: Request) -> str | None:
    try:
        return str(ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None  # A Unix socket has no address.
