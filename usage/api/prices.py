"""Prices, in whole nano-dollars as they are stored: 1,000 a token is 1 USD per million."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet, acting, body
from keys.api.catalogue import INTEGER_MAX
from keys.api.fields import Integer, Moment, Strict, Text
from keys.api.paging import Filters
from keys.models import ClaudeModel
from usage import services
from usage.models import Price

# Ten thousand dollars per million tokens, or per thousand searches: beyond it, a slip of units.
TOKEN_NANOUSD_MAX = 10_000_000
SEARCH_NANOUSD_MAX = 10_000_000_000
PERCENT_MAX = 1_000


def _rate() -> Integer:
    return Integer(min_value=0, max_value=TOKEN_NANOUSD_MAX, help_text="Nano-dollars a token.")


class PriceFields(Strict):
    """The fields of a price. What is left out stays as it is."""

    starts_at = Moment(help_text="In force from then on.")
    prompt_tokens_min = Integer(min_value=0, max_value=INTEGER_MAX, required=False)
    input_nanousd = _rate()
    output_nanousd = _rate()
    cache_creation_nanousd = _rate()
    cache_creation_1h_nanousd = _rate()
    cache_read_nanousd = _rate()
    web_search_nanousd = Integer(
        min_value=0, max_value=SEARCH_NANOUSD_MAX, required=False, help_text="Of one search."
    )
    us_percent = Integer(min_value=1, max_value=PERCENT_MAX, required=False)


class PriceCreate(PriceFields):
    """A new price of a model."""

    model_id = Text(max_length=100, help_text="A model of the catalogue.")

    def validate_model_id(self, value: str) -> str:
        if not ClaudeModel.objects.filter(model_id=value).exists():
            raise serializers.ValidationError("There is no such model in the catalogue.")
        return value


class PriceShown(serializers.Serializer[Price]):
    """A price as it is stored."""

    id = serializers.IntegerField()
    model_id = serializers.CharField()
    starts_at = serializers.DateTimeField()
    prompt_tokens_min = serializers.IntegerField()
    input_nanousd = serializers.IntegerField()
    output_nanousd = serializers.IntegerField()
    cache_creation_nanousd = serializers.IntegerField()
    cache_creation_1h_nanousd = serializers.IntegerField()
    cache_read_nanousd = serializers.IntegerField()
    web_search_nanousd = serializers.IntegerField()
    us_percent = serializers.IntegerField()


class PriceFilters(Filters):
    """Which prices to list."""

    model_id = serializers.CharField(max_length=100, required=False)


class Prices(ServiceViewSet):
    """Prices, the newest first. An old one stays, since the ledger was charged by it."""

    area = "prices"
    serializer_class = PriceShown
    filters = PriceFilters
    queryset = Price.objects.all()

    def narrowed(self, rows: QuerySet[Price], asked: Mapping[str, Any]) -> QuerySet[Price]:
        return rows.filter(model_id=asked["model_id"]) if "model_id" in asked else rows

    @extend_schema(request=PriceCreate, responses={201: PriceShown})
    def create(self, request: Request) -> Response:
        """Set what a model costs from an instant on."""
        said = body(PriceCreate, request)
        said["model"] = ClaudeModel.objects.get(model_id=said.pop("model_id"))
        made = services.price_set(price=None, fields=said, **acting(request))
        return Response(self.reread(made.pk), status=201)

    @extend_schema(request=PriceFields, responses=PriceShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Correct a price. What was charged already stays as it was."""
        changes = body(PriceFields, request, partial=True)
        stored = services.price_set(price=self.get_object(), fields=changes, **acting(request))
        return Response(self.reread(stored.pk))
