"""The management API at `/api/v1/`: which address is whose, and its description.

What an address does is in the app that owns the rows: `keys.api`, `usage.api`, `proxy.api`,
`operators.alerts.api`, `webtools.api`.
"""

from typing import Any

from django.urls import path, re_path
from django.views.generic import TemplateView
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from keys.api.apikeys import ApiKeys
from keys.api.budgets import ApiKeyBudgets, PlanBudgets, TeamBudgets
from keys.api.catalogue import Models
from keys.api.members import Members
from keys.api.operation import AuditTrail, EverybodysCache, MaintenanceSwitch
from keys.api.operator_tokens import OperatorTokens, OwnToken
from keys.api.plans import Plans
from keys.api.tables import KeyExport, KeyImport
from keys.api.teams import Teams
from operators.alerts.api import Alerts, AlertTargets, Deliveries
from proxy.api.upstreams import Upstreams
from usage.api.ledger import Ledger
from usage.api.prices import Prices
from usage.api.standing import DeadLetters, KeyStandings
from usage.api.totals import Usage
from webtools.api import CreditPrices, Tavily, ToolRules


class Description(SpectacularJSONAPIView):
    """What this API can do, as OpenAPI 3.1. Open to all: it is the same everywhere."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class Reference(TemplateView):
    """The description as a page. Nothing on it comes from another site."""

    template_name = "claudcode/api.html"


@extend_schema(exclude=True)
class Unknown(APIView):
    """Whatever has no address here."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound


class Router(SimpleRouter):
    """Addresses without a slash at the end, and numbers that are numbers."""

    def __init__(self) -> None:
        super().__init__(trailing_slash=False, use_regex_path=False)


router = Router()
router.register("keys", ApiKeys, "api-keys")
router.register("keys/<int:apikey_id>/budgets", ApiKeyBudgets, "api-key-budgets")
router.register("teams", Teams, "api-teams")
router.register("teams/<int:team_id>/budgets", TeamBudgets, "api-team-budgets")
router.register("teams/<int:team_id>/members", Members, "api-team-members")
router.register("plans", Plans, "api-plans")
router.register("plans/<int:plan_id>/budgets", PlanBudgets, "api-plan-budgets")
router.register("models", Models, "api-models")
router.register("prices", Prices, "api-prices")
router.register("upstreams", Upstreams, "api-upstreams")
router.register("alerts", Alerts, "api-alerts")
router.register("alert-targets", AlertTargets, "api-alert-targets")
router.register("alert-deliveries", Deliveries, "api-alert-deliveries")
router.register("webtools/prices", CreditPrices, "api-webtools-prices")
router.register("webtools/rules", ToolRules, "api-webtools-rules")
router.register("ledger", Ledger, "api-ledger")
router.register("dead-letters", DeadLetters, "api-dead-letters")
router.register("audit", AuditTrail, "api-audit")
router.register("tokens", OperatorTokens, "api-tokens")

urlpatterns = [
    path("openapi.json", Description.as_view(), name="api-description"),
    path("docs", Reference.as_view(), name="api-reference"),
    path("token", OwnToken.as_view({"get": "retrieve"}), name="api-token"),
    path("usage", Usage.as_view({"get": "add_up"}), name="api-usage"),
    path(
        "maintenance",
        MaintenanceSwitch.as_view({"get": "retrieve", "put": "update"}),
        name="api-maintenance",
    ),
    path("cache/purge", EverybodysCache.as_view({"post": "purge"}), name="api-cache"),
    path("keys/export", KeyExport.as_view({"get": "export"}), name="api-key-export"),
    path("keys/import", KeyImport.as_view({"post": "issue"}), name="api-key-import"),
    path(
        "webtools/tavily",
        Tavily.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="api-tavily",
    ),
    path("webtools/tavily/test", Tavily.as_view({"post": "test"}), name="api-tavily-test"),
    path(
        "keys/<int:pk>/standing",
        KeyStandings.as_view({"get": "retrieve"}),
        name="api-key-standing",
    ),
    *router.urls,
    re_path(r"", Unknown.as_view()),
]
