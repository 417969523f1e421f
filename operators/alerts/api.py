"""Alerts in the management API: what is open and what was, who is told, what did not get through.

A webhook's secret is shown once, when it is made; its address never, but for the host.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Id, QueryInteger, Strict, Text, Word
from keys.api.paging import Filters
from keys.api.problems import Conflict
from keys.models import Team
from operators.alerts import services
from operators.alerts.models import (
    KINDS,
    SUBJECTS,
    Alert,
    AlertDelivery,
    AlertTarget,
    Channel,
    Event,
)

KIND_NAMES = [kind for kind, _label in KINDS]
SUBJECT_NAMES = [subject for subject, _label in SUBJECTS]
ALERT_STATES = ["open", "over"]
# The field that is set in each state of a delivery.
STATE_FIELDS = {"waiting": "next_at", "delivered": "delivered_at", "dead": "dead_at"}


class AlertShown(serializers.ModelSerializer[Alert]):
    """One thing that needed attention, and whether it still does."""

    kind = serializers.ChoiceField(choices=KIND_NAMES)
    subject_type = serializers.ChoiceField(choices=SUBJECT_NAMES)
    team_id = serializers.IntegerField(allow_null=True)
    window_start = serializers.DateTimeField(source="slot")

    class Meta:
        model = Alert
        fields = (
            "id",
            "kind",
            "subject_type",
            "subject_id",
            "subject_name",
            "team_id",
            "threshold",
            "window_start",
            "text",
            "raised_at",
            "resolved_at",
        )
        read_only_fields = fields


class AlertFilters(Filters):
    """Which alerts to list."""

    state = serializers.ChoiceField(choices=ALERT_STATES, required=False)
    kind = serializers.ChoiceField(choices=KIND_NAMES, required=False)


class Alerts(ServiceViewSet):
    """Alerts, the newest first."""

    area = "alerts"
    serializer_class = AlertShown
    filters = AlertFilters
    queryset = Alert.objects.all()

    def narrowed(self, rows: QuerySet[Alert], asked: Mapping[str, Any]) -> QuerySet[Alert]:
        if "state" in asked:
            rows = rows.filter(resolved_at__isnull=asked["state"] == "open")
        return rows.filter(kind=asked["kind"]) if "kind" in asked else rows


class TargetFields(Strict):
    """The fields of a target that may be changed. What is left out stays as it is."""

    name = Text(max_length=100)
    address = Text(max_length=500, help_text="An e-mail address, or an https address.")
    kinds = serializers.ListField(
        child=Word(choices=KIND_NAMES),
        max_length=len(KIND_NAMES),
        required=False,
        help_text="What it is told of; empty: all.",
    )
    team_id = Id(
        source="team",
        queryset=Team.objects.all(),
        allow_null=True,
        required=False,
        help_text="Only of what belongs to this team; null: of all.",
    )
    enabled = Boolean(required=False)


class TargetAdd(TargetFields):
    """Somebody new who is told."""

    channel = Word(choices=Channel.values)


class TargetShown(serializers.Serializer[AlertTarget]):
    """A target as it is stored."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    channel = serializers.ChoiceField(choices=Channel.values)
    address = serializers.CharField(source="masked", help_text="Of a webhook the host alone.")
    kinds = serializers.ListField(child=serializers.CharField())
    team_id = serializers.IntegerField(allow_null=True)
    enabled = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class TargetWithSecret(TargetShown):
    """A target, and the secret of its webhook when there is a new one."""

    secret = serializers.CharField(
        allow_null=True, help_text="Shown this once; null: there is no new one."
    )


class TargetTested(serializers.Serializer[Any]):
    """What came of a test."""

    trouble = serializers.CharField(help_text="Empty: the test was taken.")


class AlertTargets(ServiceViewSet):
    """Who is told of alerts."""

    area = "alerts"
    serializer_class = TargetShown
    queryset = AlertTarget.objects.all()
    order = ("pk",)
    # It calls the receiver, for which no transaction should wait.
    unkept = frozenset({"test"})

    @extend_schema(request=TargetAdd, responses={201: TargetWithSecret})
    def create(self, request: Request) -> Response:
        """Add a target. The answer holds a webhook's secret, this once."""
        made, secret = services.target_add(**body(TargetAdd, request), **acting(request))
        return self._with_secret(made, secret, status=201)

    @extend_schema(request=TargetFields, responses=TargetWithSecret)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a target. Another address of a webhook makes another secret."""
        changes, target = body(TargetFields, request, partial=True), self.get_object()
        secret = services.target_update(target=target, changes=changes, **acting(request))
        return self._with_secret(target, secret)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Delete a target with its deliveries. The alerts stay."""
        services.target_delete(target=self.get_object(), **acting(request))
        return Response(status=204)

    @extend_schema(request=None, responses=TargetWithSecret)
    @action(detail=True, methods=["post"], url_path="renew-secret")
    def renew_secret(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Replace the secret of a webhook. The old one ends now."""
        target = self.get_object()
        return self._with_secret(
            target, services.target_renew_secret(target=target, **acting(request))
        )

    @extend_schema(request=None, responses=TargetTested)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Send a test to a target now."""
        error = services.target_test(target=self.get_object(), **acting(request))
        return Response({"trouble": error})

    def _with_secret(self, target: AlertTarget, secret: str, status: int = 200) -> Response:
        shown = self.reread(target.pk) | {"secret": secret or None}
        return Response(shown, status=status, headers={"Cache-Control": "no-store"})


class DeliveryShown(serializers.Serializer[AlertDelivery]):
    """One alert on its way to one target."""

    id = serializers.IntegerField()
    alert_id = serializers.IntegerField()
    target_id = serializers.IntegerField()
    event = serializers.ChoiceField(choices=Event.values, help_text="What it tells of the alert.")
    state = serializers.ChoiceField(choices=list(STATE_FIELDS))
    attempts = serializers.IntegerField()
    last_error = serializers.CharField()
    next_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    dead_at = serializers.DateTimeField(allow_null=True)


class DeliveryFilters(Filters):
    """Which deliveries to list."""

    state = serializers.ChoiceField(choices=list(STATE_FIELDS), required=False)
    target_id = QueryInteger(min_value=1, required=False)


class Deliveries(ServiceViewSet):
    """Alerts on their way, the newest first. What was given up can be sent again."""

    area = "alerts"
    serializer_class = DeliveryShown
    filters = DeliveryFilters
    queryset = AlertDelivery.objects.all()
    scopes: Mapping[str, str] = {"replay": "alerts:operate"}

    def narrowed(
        self, rows: QuerySet[AlertDelivery], asked: Mapping[str, Any]
    ) -> QuerySet[AlertDelivery]:
        if "state" in asked:
            rows = rows.filter(**{f"{STATE_FIELDS[asked['state']]}__isnull": False})
        return rows.filter(target_id=asked["target_id"]) if "target_id" in asked else rows

    @extend_schema(request=None, responses=DeliveryShown)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Try a delivery again that was given up."""
        delivery = self.get_object()
        if not services.delivery_replay(delivery=delivery, **acting(request)):
            raise Conflict("It was not given up, so there is nothing to replay.")
        return Response(self.reread(delivery.pk))
