"""The audit trail, the maintenance switch, and the cache of everybody."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys import services
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Integer, QueryInteger, Strict, Text
from keys.api.paging import Filters
from keys.api.purging import Purged, purge
from keys.models import AuditEvent, Maintenance

RETRY_AFTER_S_MAX = 86_400


class AuditEventShown(serializers.Serializer[AuditEvent]):
    """Who changed what."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor_id = serializers.IntegerField(allow_null=True)
    actor_name = serializers.CharField()
    action = serializers.CharField()
    target_type = serializers.CharField()
    target_id = serializers.IntegerField()
    detail = serializers.DictField()
    address = serializers.CharField(allow_null=True)


class AuditFilters(Filters):
    """Whose history to list: of everything, or of one key, team, model, …"""

    target_type = serializers.CharField(max_length=30, required=False, help_text="Such as apikey.")
    target_id = QueryInteger(min_value=0, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "target_id" in attrs and "target_type" not in attrs:
            raise serializers.ValidationError({"target_type": ["It goes with target_id."]})
        return attrs


class AuditTrail(ServiceViewSet):
    """The audit trail, the newest first. Rows are only ever added."""

    area = "audit"
    serializer_class = AuditEventShown
    filters = AuditFilters
    queryset = AuditEvent.objects.all()

    def narrowed(
        self, rows: QuerySet[AuditEvent], asked: Mapping[str, Any]
    ) -> QuerySet[AuditEvent]:
        return rows.filter(
            **{name: asked[name] for name in ("target_type", "target_id") if name in asked}
        )


class MaintenanceFields(Strict):
    """What is left out stays as it is."""

    enabled = Boolean()
    message = Text(max_length=300, required=False)
    retry_after_s = Integer(min_value=1, max_value=RETRY_AFTER_S_MAX, required=False)


class MaintenanceShown(serializers.Serializer[Maintenance]):
    """Whether the gateway is closed, and what clients read meanwhile."""

    enabled = serializers.BooleanField()
    message = serializers.CharField()
    retry_after_s = serializers.IntegerField()


class MaintenanceSwitch(ServiceViewSet):
    """Closes and opens the gateway."""

    area = "maintenance"
    serializer_class = MaintenanceShown
    queryset = Maintenance.objects.all()

    def get_object(self) -> Maintenance:
        return Maintenance.objects.first() or Maintenance()

    @extend_schema(request=MaintenanceFields, responses=MaintenanceShown)
    def update(self, request: Request) -> Response:
        """Close the gateway, or open it again."""
        said = body(MaintenanceFields, request)
        return Response(self.shown(services.maintenance_set(**said, **acting(request))))


class EverybodysCache(ServiceViewSet):
    """The response cache of all keys and teams."""

    area = "maintenance"
    serializer_class = Purged
    queryset = Maintenance.objects.none()

    @extend_schema(request=None, responses=Purged)
    def purge(self, request: Request) -> Response:
        """Forget every cached answer of everybody."""
        return Response(purge(None, request))
