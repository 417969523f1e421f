"""The models on offer."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Integer, Moment, Strict, Text
from keys.models import CACHE_TTL_S_MAX, ClaudeModel, model_id_validator

INTEGER_MAX = 2**31 - 1  # What the column holds.


class ModelFields(Strict):
    """The fields of a model that may be changed. What is left out stays as it is."""

    display_name = Text(max_length=100)
    released_at = Moment()
    context_window_tokens = Integer(min_value=1, max_value=INTEGER_MAX)
    output_tokens_max = Integer(min_value=1, max_value=INTEGER_MAX)
    cache_ttl_s = Integer(min_value=0, max_value=CACHE_TTL_S_MAX, required=False)
    enabled = Boolean(required=False)
    position = Integer(min_value=0, max_value=2**15 - 1, required=False)


class ModelCreate(ModelFields):
    """A new model of the catalogue."""

    model_id = Text(max_length=100, validators=[model_id_validator])


class ModelShown(serializers.Serializer[ClaudeModel]):
    """A model as it is stored."""

    id = serializers.IntegerField()
    model_id = serializers.CharField()
    display_name = serializers.CharField()
    released_at = serializers.DateTimeField()
    context_window_tokens = serializers.IntegerField()
    output_tokens_max = serializers.IntegerField()
    cache_ttl_s = serializers.IntegerField()
    enabled = serializers.BooleanField()
    position = serializers.IntegerField()


class Models(ServiceViewSet):
    """The catalogue, in its order. A model is taken off by `enabled: false`, never deleted."""

    area = "models"
    serializer_class = ModelShown
    queryset = ClaudeModel.objects.all()
    order = ("position", "model_id")

    @extend_schema(request=ModelCreate, responses={201: ModelShown})
    def create(self, request: Request) -> Response:
        """Put a model into the catalogue."""
        said = body(ModelCreate, request)
        model_id = said.pop("model_id")
        made = services.claude_model_create(model_id=model_id, fields=said, **acting(request))
        return Response(self.reread(made.pk), status=201)

    @extend_schema(request=ModelFields, responses=ModelShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of a model."""
        changes = body(ModelFields, request, partial=True)
        stored = services.claude_model_update(
            claude_model=self.get_object(), changes=changes, **acting(request)
        )
        return Response(self.reread(stored.pk))
