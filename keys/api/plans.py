"""Plans: limits that many keys follow at once."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.apikeys import LIST_LENGTH_MAX
from keys.api.base import ServiceViewSet, acting, body
from keys.api.budgets import BudgetBody, BudgetShown, spec
from keys.api.fields import Boolean, Integer, Strict, Text, Word
from keys.core.access import Hangup
from keys.models import RATE_MAX, WAIT_S_MAX, Plan, model_pattern_validator


class PlanFields(Strict):
    """The fields of a plan that may be changed. What is left out stays as it is."""

    name = Text(max_length=100)
    rpm = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    concurrency = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    models = serializers.ListField(
        child=Text(max_length=100, validators=[model_pattern_validator]),
        max_length=LIST_LENGTH_MAX,
        required=False,
        help_text="Ids or patterns such as claude-haiku-*; empty: all.",
    )
    hangup = Word(choices=[hangup.value for hangup in Hangup], required=False)
    wait_s = Integer(min_value=0, max_value=WAIT_S_MAX, required=False)
    cache_enabled = Boolean(required=False)


class PlanCreate(PlanFields):
    """A new plan."""

    budgets = BudgetBody(many=True, required=False, max_length=20)


class PlanShown(serializers.Serializer[Plan]):
    """A plan as it is stored."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    rpm = serializers.IntegerField(allow_null=True)
    concurrency = serializers.IntegerField(allow_null=True)
    models = serializers.ListField(child=serializers.CharField())
    hangup = serializers.ChoiceField(choices=[hangup.value for hangup in Hangup])
    wait_s = serializers.IntegerField()
    cache_enabled = serializers.BooleanField()
    budgets = BudgetShown(many=True)
    created_at = serializers.DateTimeField()


class Plans(ServiceViewSet):
    """Plans, the newest first. A change of one reaches every key that follows it."""

    area = "plans"
    serializer_class = PlanShown
    queryset = Plan.objects.prefetch_related("budgets")

    @extend_schema(request=PlanCreate, responses={201: PlanShown})
    def create(self, request: Request) -> Response:
        """Make a plan."""
        said = body(PlanCreate, request)
        name, budgets = said.pop("name"), [spec(each) for each in said.pop("budgets", ())]
        plan = services.plan_create(name=name, fields=said, budgets=budgets, **acting(request))
        return Response(self.reread(plan.pk), status=201)

    @extend_schema(request=PlanFields, responses=PlanShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a plan, and so all keys that follow it."""
        changes: Any = body(PlanFields, request, partial=True)
        stored = services.plan_update(plan=self.get_object(), changes=changes, **acting(request))
        return Response(self.reread(stored.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Delete a plan that no key and no team has."""
        services.plan_delete(plan=self.get_object(), **acting(request))
        return Response(status=204)
