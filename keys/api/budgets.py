"""Budgets of a key or of a team, at `…/keys/12/budgets` and `…/teams/3/budgets`."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Integer, Moment, Strict, Word
from keys.core.budget import WINDOW_S_MAX, BudgetSpec
from keys.core.limits import AMOUNT_MAX, Unit
from keys.models import ApiKey, Budget, Plan, Team

# As people say them; the names of Valkey's keys are no words for outside.
UNITS = {"tokens": Unit.TOKENS, "nanousd": Unit.NANOUSD}
_WORDS = {unit.value: word for word, unit in UNITS.items()}


class BudgetBody(Strict):
    """At most `limit` tokens or nano-dollars in any `window_s` seconds."""

    unit = Word(choices=sorted(UNITS))
    window_s = Integer(min_value=1, max_value=WINDOW_S_MAX)
    limit = Integer(
        min_value=0, max_value=AMOUNT_MAX, allow_null=True, help_text="null: no limit; 0: nothing."
    )
    strict = Boolean(default=False, help_text="Hold the worst case: it is never exceeded.")
    anchored = Boolean(default=False, help_text="Begin at the first use, end all at once.")


class Raise(Strict):
    """How much more, and until when: then the raise ends by itself."""

    limit = Integer(min_value=1, max_value=AMOUNT_MAX)
    until = Moment()


class Window(Strict):
    """One of the budgets that bind a key: a holder has one of a unit and a window."""

    unit = Word(choices=sorted(UNITS))
    window_s = Integer(min_value=1, max_value=WINDOW_S_MAX)


class WindowRaise(Raise, Window):
    """Which budget is raised, how far, and until when."""


class UnitShown(serializers.ChoiceField):
    """The unit of a stored budget, as people say it."""

    def to_representation(self, value: str) -> str:
        return _WORDS[value]


class BudgetShown(serializers.Serializer[Budget]):
    """A budget as it is stored."""

    id = serializers.IntegerField()
    unit = UnitShown(choices=sorted(UNITS))
    window_s = serializers.IntegerField()
    limit = serializers.IntegerField(source="limit_amount", allow_null=True)
    raised_to = serializers.IntegerField(
        source="raised_amount", allow_null=True, help_text="In force until `raised_until`."
    )
    raised_until = serializers.DateTimeField(allow_null=True)
    strict = serializers.BooleanField()
    anchored = serializers.BooleanField()
    reset_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


def spec(said: dict[str, Any]) -> BudgetSpec:
    """Return the budget that a body says."""
    return BudgetSpec(
        UNITS[said["unit"]], said["window_s"], said["limit"], said["strict"], said["anchored"]
    )


class BudgetViews(ServiceViewSet):
    """The budgets of one holder: what a subclass calls `holder`."""

    serializer_class = BudgetShown
    order = ("pk",)

    def holder(self) -> ApiKey | Plan | Team:
        """Return whose budgets these are. Raises `Http404`."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Budget]:
        if getattr(self, "swagger_fake_view", False):
            return Budget.objects.none()
        return self.holder().budgets.select_related("apikey__team", "plan", "team")

    @extend_schema(request=BudgetBody, responses={201: BudgetShown})
    def create(self, request: Request, **_path: Any) -> Response:
        """Add a budget. A holder has one budget of a unit and a window."""
        said = spec(body(BudgetBody, request))
        added = services.budget_add(holder=self.holder(), spec=said, **acting(request))
        return Response(self.reread(added.pk), status=201)

    @extend_schema(request=BudgetBody, responses=BudgetShown)
    def update(self, request: Request, **_path: Any) -> Response:
        """Make a budget what the body says; what was used stays used."""
        said = spec(body(BudgetBody, request))
        stored = services.budget_update(budget=self.get_object(), spec=said, **acting(request))
        return Response(self.reread(stored.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, **_path: Any) -> Response:
        """Take a budget away, so that nobody is bound by it."""
        services.budget_remove(budget=self.get_object(), **acting(request))
        return Response(status=204)

    @extend_schema(request=None, responses=BudgetShown)
    @action(detail=True, methods=["post"])
    def reset(self, request: Request, **_path: Any) -> Response:
        """Empty the window: what was used before now no longer counts."""
        budget = self.get_object()
        services.budget_reset(budget=budget, **acting(request))
        return Response(self.reread(budget.pk))

    @extend_schema(request=Raise, responses=BudgetShown)
    @action(detail=True, methods=["post"], url_path="raise", url_name="raise")
    def lift(self, request: Request, **_path: Any) -> Response:
        """Let more be used until a date. A raise of before is replaced."""
        said, budget = body(Raise, request), self.get_object()
        services.budget_raise(budget=budget, **said, **acting(request))
        return Response(self.reread(budget.pk))

    @extend_schema(request=None, responses=BudgetShown)
    @action(detail=True, methods=["post"], url_path="end-raise")
    def end_raise(self, request: Request, **_path: Any) -> Response:
        """End a raise before its date."""
        budget = self.get_object()
        services.budget_raise_end(budget=budget, **acting(request))
        return Response(self.reread(budget.pk))


class ApiKeyBudgets(BudgetViews):
    """Budgets of a key."""

    area = "keys"

    def holder(self) -> ApiKey:
        return _found(ApiKey.objects.filter(pk=self.kwargs["apikey_id"]))


class TeamBudgets(BudgetViews):
    """Budgets that all keys of a team share."""

    area = "teams"

    def holder(self) -> Team:
        return _found(Team.objects.filter(pk=self.kwargs["team_id"]))


class PlanBudgets(BudgetViews):
    """Budgets that hold for each key of a plan apart, so that there is no one window to reset."""

    area = "plans"
    reset = None

    def holder(self) -> Plan:
        return _found(Plan.objects.filter(pk=self.kwargs["plan_id"]))


def _found(rows: QuerySet[Any]) -> Any:
    holder = rows.first()
    if holder is None:
        raise Http404
    return holder
