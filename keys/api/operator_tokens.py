"""Operator tokens over the API itself: look at them, issue, revoke.

What a token may issue is held by `keys.api.tokens`: never more than it is itself.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Moment, Strict, Text
from keys.api.models import NAME_LENGTH_MAX, OperatorToken
from keys.api.paging import Filters
from keys.api.scopes import SCOPES
from keys.api.tokens import operatortoken_issue, operatortoken_revoke

STATES = ["live", "expired", "revoked"]


class TokenShown(serializers.Serializer[OperatorToken]):
    """The operator token of this request."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the secret.")
    last_four = serializers.CharField(help_text="The end of the secret.")
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class OwnToken(ServiceViewSet):
    """What the token of this request is: for a program to see that it works, and until when."""

    serializer_class = TokenShown
    queryset = OperatorToken.objects.none()

    def get_object(self) -> Any:
        return self.request.auth


class OperatorTokenShown(TokenShown):
    """An operator token as it is stored; its secret is not."""

    status = serializers.ChoiceField(choices=STATES)
    created_by_id = serializers.IntegerField(
        allow_null=True, help_text="Whose it is; null: a command made it."
    )
    issued_by_id = serializers.IntegerField(
        allow_null=True, help_text="The token that issued it, with which it ends."
    )
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class OperatorTokenIssued(OperatorTokenShown):
    """A new operator token with its secret, which cannot be had again."""

    secret = serializers.CharField(
        allow_null=True, help_text="null in the answer to a repeat with the same Idempotency-Key."
    )


class OperatorTokenIssue(Strict):
    """A new operator token: nothing that the token of this request is not itself."""

    name = Text(max_length=NAME_LENGTH_MAX)
    scopes = serializers.ListField(
        child=Text(max_length=30),
        min_length=1,
        max_length=len(SCOPES),
        help_text="Such as keys:read; keys:* is all of keys.",
    )
    expires_at = Moment(
        allow_null=True,
        required=False,
        help_text="Left out: when the token of this request does. null: never.",
    )


class OperatorTokenFilters(Filters):
    """Which tokens to list."""

    status = serializers.ChoiceField(choices=STATES, required=False)


class OperatorTokens(ServiceViewSet):
    """Operator tokens, the newest first. One is never changed: issue another."""

    area = "tokens"
    serializer_class = OperatorTokenShown
    filters = OperatorTokenFilters
    queryset = OperatorToken.objects.all()

    def narrowed(
        self, rows: QuerySet[OperatorToken], asked: Mapping[str, Any]
    ) -> QuerySet[OperatorToken]:
        return rows.filter(_having(asked["status"])) if "status" in asked else rows

    @extend_schema(request=OperatorTokenIssue, responses={201: OperatorTokenIssued})
    def create(self, request: Request) -> Response:
        """Issue a token. The answer holds its secret, this once; it ends with the one that asks."""
        said = body(OperatorTokenIssue, request)
        own: Any = request.auth
        said.setdefault("expires_at", own.expires_at)
        token, secret = operatortoken_issue(**said, issued_by=own, **acting(request))
        shown = self.reread(token.pk) | {"secret": secret.text}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None, responses=OperatorTokenShown)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Refuse a token, and all that it issued, from the next request on."""
        token = self.get_object()
        operatortoken_revoke(token=token, **acting(request))
        return Response(self.reread(token.pk))


def _having(status: str) -> Q:
    now = timezone.now()
    return {
        "live": Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now)),
        "expired": Q(revoked_at=None, expires_at__lte=now),
        "revoked": Q(revoked_at__isnull=False),
    }[status]
