"""API keys: issue, change, disable, enable, revoke, reset, purge."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.budgets import (
    UNITS,
    BudgetBody,
    BudgetShown,
    Window,
    WindowRaise,
    spec,
)
from keys.api.fields import Boolean, Id, Integer, Moment, QueryInteger, Strict, Text, Word
from keys.api.paging import Filters
from keys.api.problems import Conflict, RuleBroken
from keys.api.purging import Purged, purge
from keys.core.access import Hangup, KeyStatus
from keys.core.terms import INHERITABLE
from keys.inheritance import Holding, holdings
from keys.models import (
    RATE_MAX,
    WAIT_S_MAX,
    ApiKey,
    Plan,
    Team,
    model_pattern_validator,
    validate_cidr,
)
from keys.services.rotation import GRACE_DEFAULT, GRACE_MAX, apikey_end_grace, apikey_rotate

# Nobody maintains longer lists by hand; a network covers what more addresses would.
LIST_LENGTH_MAX = 500

GRACE_S_DEFAULT = int(GRACE_DEFAULT.total_seconds())
GRACE_S_MAX = int(GRACE_MAX.total_seconds())

STATUSES = [status.value for status in KeyStatus]


class ApiKeyFields(Strict):
    """The fields of a key that may be changed. What is left out stays as it is."""

    name = Text(max_length=100)
    team_id = Id(source="team", queryset=Team.objects.all(), allow_null=True, required=False)
    owner_id = Id(source="owner", queryset=User.objects.all(), allow_null=True, required=False)
    plan_id = Id(source="plan", queryset=Plan.objects.all(), allow_null=True, required=False)
    inherited = serializers.ListField(
        child=Word(choices=INHERITABLE),
        max_length=len(INHERITABLE),
        required=False,
        help_text="The fields that follow the plan; a field that is changed no longer does.",
    )
    rpm = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    concurrency = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    models = serializers.ListField(
        child=Text(max_length=100, validators=[model_pattern_validator]),
        max_length=LIST_LENGTH_MAX,
        required=False,
        help_text="Ids or patterns such as claude-haiku-*; empty: all.",
    )
    cidrs = serializers.ListField(
        child=Text(max_length=49, validators=[validate_cidr]),
        max_length=LIST_LENGTH_MAX,
        required=False,
        help_text="Addresses or networks such as 10.0.0.0/8; empty: any.",
    )
    expires_at = Moment(allow_null=True, required=False)
    hangup = Word(choices=[hangup.value for hangup in Hangup], required=False)
    wait_s = Integer(min_value=0, max_value=WAIT_S_MAX, required=False)
    cache_enabled = Boolean(required=False)
    during_maintenance = Boolean(required=False)


class ApiKeyIssue(ApiKeyFields):
    """A new key. What is left out follows its plan; without a plan it is what a plain key gets.

    So do `budgets`: left out they are the plan's, or the documented one; an empty list is none.
    """

    inherited = None
    budgets = BudgetBody(many=True, required=False, max_length=20)


class ApiKeyShown(serializers.Serializer[ApiKey]):
    """A key as it is stored; its secret is not."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the secret.")
    last_four = serializers.CharField(help_text="The end of the secret.")
    status = serializers.ChoiceField(choices=STATUSES)
    team_id = serializers.IntegerField(allow_null=True)
    owner_id = serializers.IntegerField(allow_null=True)
    plan_id = serializers.IntegerField(allow_null=True)
    inherited = serializers.ListField(
        child=serializers.CharField(),
        help_text="Fields for which the plan's value is in force, and the one here sleeps.",
    )
    rpm = serializers.IntegerField(allow_null=True)
    concurrency = serializers.IntegerField(allow_null=True)
    models = serializers.ListField(child=serializers.CharField())
    cidrs = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    hangup = serializers.ChoiceField(choices=[hangup.value for hangup in Hangup])
    wait_s = serializers.IntegerField()
    cache_enabled = serializers.BooleanField()
    during_maintenance = serializers.BooleanField()
    budgets = BudgetShown(many=True)
    created_at = serializers.DateTimeField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    previous_expires_at = serializers.DateTimeField(
        allow_null=True, help_text="Until then the secret before the last rotation works too."
    )


class ApiKeyIssued(ApiKeyShown):
    """A new key with its secret, which cannot be had again."""

    secret = serializers.CharField(
        allow_null=True, help_text="null in the answer to a repeat with the same Idempotency-Key."
    )


class Rotation(Strict):
    """How long the secret before goes on working beside the new one."""

    grace_s = Integer(min_value=0, max_value=GRACE_S_MAX, default=GRACE_S_DEFAULT)


class Extension(Strict):
    """When the key is to end, later than it would."""

    expires_at = Moment(allow_null=True, help_text="null: never.")


class PlanChange(Strict):
    """Which plan the key is to follow."""

    plan_id = Id(
        source="plan",
        queryset=Plan.objects.all(),
        allow_null=True,
        help_text="null: none; what the key had of its plan becomes its own.",
    )
    keep_own = Boolean(
        default=False, help_text="Leave alone the limits and budgets that are the key's own."
    )


class ApiKeyQuery(Strict):
    """Which keys."""

    status = serializers.ChoiceField(choices=STATUSES, required=False)
    team_id = QueryInteger(min_value=1, required=False)
    owner_id = QueryInteger(min_value=1, required=False)
    plan_id = QueryInteger(min_value=1, required=False)
    prefix = serializers.CharField(max_length=16, required=False, help_text="The whole prefix.")


class ApiKeyFilters(ApiKeyQuery, Filters):
    """Which keys to list."""


class ApiKeys(ServiceViewSet):
    """API keys, the newest first. A key is revoked, never deleted: the ledger points at it."""

    area = "keys"
    serializer_class = ApiKeyShown
    filters = ApiKeyFilters
    queryset = ApiKey.objects.prefetch_related("budgets")

    def narrowed(self, rows: QuerySet[ApiKey], asked: Mapping[str, Any]) -> QuerySet[ApiKey]:
        return matching(rows, asked)

    @extend_schema(request=ApiKeyIssue, responses={201: ApiKeyIssued})
    def create(self, request: Request) -> Response:
        """Issue a key. The answer holds its secret, this once."""
        said = body(ApiKeyIssue, request)
        if "budgets" in said:
            said["budgets"] = [spec(each) for each in said["budgets"]]
        if "hangup" in said:
            said["hangup"] = Hangup(said["hangup"])
        apikey, secret = services.apikey_issue(**said, **acting(request))
        shown = self.reread(apikey.pk) | {"secret": secret.text}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(request=ApiKeyFields, responses=ApiKeyShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a key. Gateways obey within a second."""
        changes = body(ApiKeyFields, request, partial=True)
        stored = services.apikey_update(
            apikey=self.get_object(), changes=changes, **acting(request)
        )
        return Response(self.reread(stored.pk))

    @extend_schema(request=None, responses=ApiKeyShown)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Refuse a key until it is enabled."""
        apikey = self._unrevoked()
        services.apikey_disable(apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=None, responses=ApiKeyShown)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Let a disabled key in again."""
        apikey = self._unrevoked()
        services.apikey_enable(apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=None, responses=ApiKeyShown)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Refuse a key for ever."""
        apikey = self.get_object()
        services.apikey_revoke(apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=Rotation, responses=ApiKeyIssued)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Give a key a new secret, which the answer holds this once."""
        grace = dt.timedelta(seconds=body(Rotation, request)["grace_s"])
        apikey, secret = apikey_rotate(apikey=self.get_object(), grace=grace, **acting(request))
        shown = self.reread(apikey.pk) | {"secret": secret.text}
        return Response(shown, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None, responses=ApiKeyShown)
    @action(detail=True, methods=["post"], url_path="end-grace")
    def end_grace(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Refuse the secret before the last rotation from now on."""
        apikey = self.get_object()
        apikey_end_grace(apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=Extension, responses=ApiKeyShown)
    @action(detail=True, methods=["post"])
    def extend(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Let a key live longer. An expired one lives again."""
        said, apikey = body(Extension, request), self._unrevoked()
        services.apikey_extend(apikey=apikey, **said, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=PlanChange, responses=ApiKeyShown)
    @action(detail=True, methods=["post"], url_path="change-plan")
    def change_plan(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Put a key on a plan, which it follows in everything, or take it off."""
        said, apikey = body(PlanChange, request), self.get_object()
        services.apikey_change_plan(apikey=apikey, **said, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=WindowRaise, responses=ApiKeyShown)
    @action(detail=True, methods=["post"], url_path="raise-budget")
    def raise_budget(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Let this key use more of a budget until a date, be the budget its own or its plan's."""
        said = body(WindowRaise, request)
        apikey, holding = self._holding(said)
        more = {"limit": said["limit"], "until": said["until"]}
        services.budget_raise(budget=holding.budget, apikey=apikey, **more, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=Window, responses=ApiKeyShown)
    @action(detail=True, methods=["post"], url_path="end-raise")
    def end_raise(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """End a raise of one of this key's budgets before its date."""
        apikey, holding = self._holding(body(Window, request))
        services.budget_raise_end(budget=holding.budget, apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=None, responses=ApiKeyShown)
    @action(detail=True, methods=["post"], url_path="reset-budgets")
    def reset_budgets(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Empty the windows of all budgets that bind a key, its plan's too."""
        apikey = self.get_object()
        for holding in holdings([apikey])[apikey]:
            services.budget_reset(budget=holding.budget, apikey=apikey, **acting(request))
        return Response(self.reread(apikey.pk))

    @extend_schema(request=None, responses=Purged)
    @action(detail=True, methods=["post"], url_path="purge-cache")
    def purge_cache(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Forget every cached answer that could serve this key."""
        return Response(purge(self.get_object(), request))

    def _holding(self, said: Mapping[str, Any]) -> tuple[ApiKey, Holding]:
        apikey: ApiKey = self.get_object()
        wanted = (UNITS[said["unit"]].value, said["window_s"])
        for holding in holdings([apikey])[apikey]:
            if (holding.budget.unit, holding.budget.window_s) == wanted:
                return apikey, holding
        raise RuleBroken("No budget of this unit and window binds the key.")

    def _unrevoked(self) -> ApiKey:
        apikey: ApiKey = self.get_object()
        if apikey.revoked_at is not None:
            raise Conflict("The key is revoked, which is for ever.")
        return apikey


def matching(rows: QuerySet[ApiKey], asked: Mapping[str, Any]) -> QuerySet[ApiKey]:
    """Return those of `rows` that an `ApiKeyQuery` asks for."""
    if status := asked.get("status"):
        rows = rows.filter(_having(KeyStatus(status), timezone.now()))
    exact = ("team_id", "owner_id", "plan_id", "prefix")
    return rows.filter(**{name: asked[name] for name in exact if name in asked})


def _having(status: KeyStatus, now: dt.datetime) -> Q:
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    return {
        KeyStatus.ACTIVE: live & Q(disabled_at=None),
        KeyStatus.DISABLED: live & Q(disabled_at__isnull=False),
        KeyStatus.EXPIRED: Q(revoked_at=None, expires_at__lte=now),
        KeyStatus.REVOKED: Q(revoked_at__isnull=False),
    }[status]
