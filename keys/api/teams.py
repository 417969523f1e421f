"""Teams: make, change, delete, purge."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.budgets import BudgetBody, BudgetShown, spec
from keys.api.fields import Boolean, Id, Integer, Strict, Text
from keys.api.purging import Purged, purge
from keys.models import RATE_MAX, Plan, Team
from keys.models.fields import LEDGER_KEEP_DAYS_MAX, LEDGER_KEEP_DAYS_MIN, LEGAL_HOLD_CHARS_MAX


class TeamFields(Strict):
    """The fields of a team that may be changed. What is left out stays as it is."""

    name = Text(max_length=100)
    plan_id = Id(
        source="plan",
        queryset=Plan.objects.all(),
        allow_null=True,
        required=False,
        help_text="The most that a lead of the team may give a key.",
    )
    rpm = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    concurrency = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    cache_enabled = Boolean(required=False)
    cache_shared = Boolean(required=False)
    ledger_keep_days = Integer(
        min_value=LEDGER_KEEP_DAYS_MIN,
        max_value=LEDGER_KEEP_DAYS_MAX,
        allow_null=True,
        required=False,
        help_text="How long single exchanges are kept at least. Null: as long as everybody's.",
    )
    legal_hold = Text(
        max_length=LEGAL_HOLD_CHARS_MAX,
        allow_blank=True,
        required=False,
        help_text="Why nothing of this team may leave the ledger. Empty: no hold.",
    )


class TeamCreate(TeamFields):
    """A new team."""

    budgets = BudgetBody(many=True, required=False, max_length=20)


class TeamShown(serializers.Serializer[Team]):
    """A team as it is stored."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    plan_id = serializers.IntegerField(allow_null=True)
    rpm = serializers.IntegerField(allow_null=True)
    concurrency = serializers.IntegerField(allow_null=True)
    cache_enabled = serializers.BooleanField()
    cache_shared = serializers.BooleanField()
    ledger_keep_days = serializers.IntegerField(allow_null=True)
    legal_hold = serializers.CharField(allow_blank=True)
    budgets = BudgetShown(many=True)
    created_at = serializers.DateTimeField()


class Teams(ServiceViewSet):
    """Teams, the newest first. Their limits lie over all of their keys together."""

    area = "teams"
    serializer_class = TeamShown
    queryset = Team.objects.prefetch_related("budgets")

    @extend_schema(request=TeamCreate, responses={201: TeamShown})
    def create(self, request: Request) -> Response:
        """Make a team."""
        said = body(TeamCreate, request)
        said["budgets"] = [spec(each) for each in said.get("budgets", ())]
        team = services.team_create(**said, **acting(request))
        return Response(self.reread(team.pk), status=201)

    @extend_schema(request=TeamFields, responses=TeamShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a team."""
        changes: Any = body(TeamFields, request, partial=True)
        stored = services.team_update(team=self.get_object(), changes=changes, **acting(request))
        return Response(self.reread(stored.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Delete a team that no key and no ledger entry knows."""
        services.team_delete(team=self.get_object(), **acting(request))
        return Response(status=204)

    @extend_schema(request=None, responses=Purged)
    @action(detail=True, methods=["post"], url_path="purge-cache")
    def purge_cache(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Forget every cached answer of the team and its keys."""
        return Response(purge(self.get_object(), request))
