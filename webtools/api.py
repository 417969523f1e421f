"""Web tools in the management API: the account at Tavily, prices of a credit, rules for keys.

A credential goes in and never comes out: `credential_hint` is what may be shown of it.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Id, Integer, Moment, QueryInteger, Strict, Text
from keys.api.paging import Filters
from keys.api.problems import Conflict
from keys.models import RATE_MAX, ApiKey, Plan
from webtools import services
from webtools.models import CREDIT_NANOUSD_MAX, CreditPrice, TavilyAccount, ToolRule
from webtools.trial import tavily_test


def _calls_per_day() -> Integer:
    return Integer(
        min_value=0,
        max_value=RATE_MAX,
        allow_null=True,
        required=False,
        help_text="Of each key, in any 24 hours. null: unlimited; 0: nothing passes.",
    )


def _always() -> Boolean:
    return Boolean(required=False, help_text="Whether messages get web tools unasked.")


class TavilyFields(Strict):
    """The fields of the account that may be changed. What is left out stays as it is."""

    enabled = Boolean(required=False, help_text="false: no key may use web tools.")
    keys_enabled = Boolean(
        required=False, help_text="Whether keys may that have no rule, nor a plan with one."
    )
    always = _always()
    calls_per_day = _calls_per_day()
    credential = Text(
        max_length=4096,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="Never shown again. Empty: the stored one is removed.",
    )


class TavilyShown(serializers.Serializer[TavilyAccount]):
    """The account at Tavily as it is stored."""

    enabled = serializers.BooleanField()
    keys_enabled = serializers.BooleanField()
    always = serializers.BooleanField()
    calls_per_day = serializers.IntegerField(allow_null=True)
    base_url = serializers.SerializerMethodField(help_text="TAVILY_BASE_URL, where calls go.")
    credential_hint = serializers.CharField(
        help_text="What may be shown of the stored credential; empty: none is stored."
    )
    credential_set_at = serializers.DateTimeField(allow_null=True)

    def get_base_url(self, _account: TavilyAccount) -> str:
        return str(settings.TAVILY_BASE_URL)


class TavilyTested(serializers.Serializer[Any]):
    """What came of asking Tavily, which costs nothing."""

    good = serializers.BooleanField()
    text = serializers.CharField(help_text="A sentence: what was used, or what is wrong.")


class Tavily(ServiceViewSet):
    """The account at Tavily, and what holds for keys without a rule."""

    area = "webtools"
    serializer_class = TavilyShown
    queryset = TavilyAccount.objects.all()
    # It calls Tavily, for which no transaction should wait.
    unkept = frozenset({"test"})

    def get_object(self) -> TavilyAccount:
        return services.tavily_account()

    @extend_schema(request=TavilyFields, responses=TavilyShown)
    def partial_update(self, request: Request) -> Response:
        """Change the account. Gateways obey within a second."""
        changes = body(TavilyFields, request, partial=True)
        credential = changes.pop("credential", None)
        stored = services.tavily_set(changes=changes, credential=credential, **acting(request))
        return Response(self.shown(stored))

    @extend_schema(request=None, responses=TavilyTested)
    def test(self, request: Request) -> Response:  # noqa: ARG002
        """Ask Tavily whether it takes the gateway's credential."""
        return Response(TavilyTested(tavily_test()).data)


class CreditPriceFields(Strict):
    """The fields of a price."""

    starts_at = Moment(help_text="In force from then on.")
    credit_nanousd = Integer(
        min_value=0, max_value=CREDIT_NANOUSD_MAX, help_text="8,000,000 is 0.8 cents."
    )


class CreditPriceShown(serializers.Serializer[CreditPrice]):
    """What a credit of Tavily's costs from an instant on."""

    id = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    credit_nanousd = serializers.IntegerField()


class CreditPrices(ServiceViewSet):
    """Prices of a credit, the newest first. An old one stays, since it was charged."""

    area = "webtools"
    serializer_class = CreditPriceShown
    queryset = CreditPrice.objects.all()

    @extend_schema(request=CreditPriceFields, responses={201: CreditPriceShown})
    def create(self, request: Request) -> Response:
        """Set what a credit costs from an instant on."""
        said = body(CreditPriceFields, request)
        made = services.credit_price_set(price=None, fields=said, **acting(request))
        return Response(self.reread(made.pk), status=201)

    @extend_schema(request=CreditPriceFields, responses=CreditPriceShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Correct a price. What was charged already stays as it was."""
        said: Any = body(CreditPriceFields, request, partial=True)
        price = self.get_object()
        stored = services.credit_price_set(price=price, fields=said, **acting(request))
        return Response(self.reread(stored.pk))


class ToolRuleFields(Strict):
    """The fields of a rule that may be changed. What is left out stays as it is."""

    enabled = Boolean(required=False)
    always = _always()
    calls_per_day = _calls_per_day()


class ToolRuleCreate(ToolRuleFields):
    """A new rule, of a key or of all keys of a plan."""

    apikey_id = Id(source="apikey", queryset=ApiKey.objects.all(), required=False)
    plan_id = Id(source="plan", queryset=Plan.objects.all(), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("apikey" in attrs) == ("plan" in attrs):
            raise serializers.ValidationError("Name either apikey_id or plan_id.")
        return attrs


class ToolRuleShown(serializers.Serializer[ToolRule]):
    """Whether a key, or each key of a plan, may use web tools."""

    id = serializers.IntegerField()
    apikey_id = serializers.IntegerField(allow_null=True)
    plan_id = serializers.IntegerField(allow_null=True)
    enabled = serializers.BooleanField()
    always = serializers.BooleanField()
    calls_per_day = serializers.IntegerField(allow_null=True)
    updated_at = serializers.DateTimeField()


class ToolRuleFilters(Filters):
    """Which rules to list."""

    apikey_id = QueryInteger(min_value=1, required=False)
    plan_id = QueryInteger(min_value=1, required=False)


class ToolRules(ServiceViewSet):
    """Rules for web tools, the newest first. A key's own comes before its plan's."""

    area = "webtools"
    serializer_class = ToolRuleShown
    filters = ToolRuleFilters
    queryset = ToolRule.objects.all()
    # Day-to-day work, which needs no hand on the credential.
    scopes = dict.fromkeys(("create", "partial_update", "destroy"), "webtools:operate")

    def narrowed(self, rows: QuerySet[ToolRule], asked: Mapping[str, Any]) -> QuerySet[ToolRule]:
        exact = ("apikey_id", "plan_id")
        return rows.filter(**{name: asked[name] for name in exact if name in asked})

    @extend_schema(request=ToolRuleCreate, responses={201: ToolRuleShown})
    def create(self, request: Request) -> Response:
        """Give a key, or a plan, a rule of its own."""
        said = body(ToolRuleCreate, request)
        holder = said.pop("apikey", None) or said.pop("plan", None)
        if hasattr(holder, "tool_rule"):
            raise Conflict(f"There is a rule already: {holder.tool_rule.pk}.")
        made = services.tool_rule_set(holder=holder, changes=said, **acting(request))
        return Response(self.reread(made.pk), status=201)

    @extend_schema(request=ToolRuleFields, responses=ToolRuleShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a rule."""
        changes: Any = body(ToolRuleFields, request, partial=True)
        rule = self.get_object()
        holder = rule.apikey or rule.plan
        stored = services.tool_rule_set(holder=holder, changes=changes, **acting(request))
        return Response(self.reread(stored.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Delete a rule. Its holder has what its plan, or the account, says from then on."""
        services.tool_rule_delete(rule=self.get_object(), **acting(request))
        return Response(status=204)
