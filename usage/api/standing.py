"""How a key stands at this moment, and events that could not become rows of the ledger."""

import datetime as dt
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import Nothing, ServiceViewSet
from keys.api.budgets import UNITS, UnitShown
from keys.models import ApiKey
from usage.models import DeadLetter
from usage.standing import BudgetStanding, standings

HOLDERS = ["key", "team"]


class BudgetStandingShown(serializers.Serializer[BudgetStanding]):
    """What is used of one budget that binds the key."""

    holder = serializers.SerializerMethodField(help_text="key (or its plan), or team.")
    unit = UnitShown(source="limit.unit", choices=sorted(UNITS))
    window_s = serializers.IntegerField(source="limit.window_s")
    limit = serializers.IntegerField(source="limit.limit")
    used = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Set aside for exchanges in flight.")
    frees_at = serializers.SerializerMethodField(
        help_text="When the oldest use leaves, or a spent budget lets a request in again."
    )
    to_the_hour = serializers.BooleanField(
        help_text="The window was not used lately: up to an hour's use too high."
    )

    def get_holder(self, standing: BudgetStanding) -> str:
        return HOLDERS[standing.of_team]

    def get_frees_at(self, standing: BudgetStanding) -> dt.datetime | None:
        if standing.frees_at_ms is None:
            return None
        return dt.datetime.fromtimestamp(standing.frees_at_ms / 1000, dt.UTC)


class KeyStandingShown(serializers.Serializer[Any]):
    """Where a key stands against its limits now. To look changes nothing."""

    rpm = serializers.IntegerField(
        allow_null=True, help_text="Requests of the last minute; null: no such limit, or not known."
    )
    in_flight = serializers.IntegerField(
        allow_null=True, help_text="null: Valkey does not answer, so nobody knows."
    )
    budgets = BudgetStandingShown(many=True)


class KeyStandings(ServiceViewSet):
    """Where a key stands against its limits now."""

    area = "keys"
    serializer_class = KeyStandingShown
    queryset = ApiKey.objects.select_related("team")

    @extend_schema(responses=KeyStandingShown)
    def retrieve(self, request: Request, **_path: Any) -> Response:
        """Read what is used of the limits of a key at this moment."""
        self.asked_for(Nothing, request)
        apikey = self.get_object()
        return Response(self.shown(standings([apikey], timezone.now())[apikey.pk]))


class DeadLetterShown(serializers.Serializer[DeadLetter]):
    """An event that could not become a row of the ledger, as it came, and why."""

    id = serializers.IntegerField()
    found_at = serializers.DateTimeField()
    shard = serializers.IntegerField()
    stream_id = serializers.CharField()
    error = serializers.CharField()
    fields = serializers.DictField()  # type: ignore[assignment]


class DeadLetters(ServiceViewSet):
    """Events that could not become rows of the ledger, the newest first."""

    area = "ledger"
    serializer_class = DeadLetterShown
    queryset = DeadLetter.objects.all()
