"""The ledger, to read: every exchange, the newest first, never a prompt and never an answer."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.base import ServiceViewSet
from keys.api.fields import Moment, QueryInteger
from keys.api.paging import Filters
from usage import replica
from usage.core.event import CacheOutcome, ExchangeStatus
from usage.models import LedgerEntry

# What leaves a partial index: everything that did not go as it should.
TROUBLE = "trouble"
STATUSES = [status.value for status in ExchangeStatus]

_REQUEST_ID = re.compile(r"(req_)?[0-9a-f]{32}", re.ASCII)


class LedgerEntryShown(serializers.ModelSerializer[LedgerEntry]):
    """One exchange: who, when, what, how it ended, every kind of token, what it cost."""

    request_id = serializers.CharField(help_text="What the client was told.")
    apikey_id = serializers.IntegerField()
    team_id = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    cache = serializers.ChoiceField(choices=[outcome.value for outcome in CacheOutcome])
    attempts = serializers.ListField(
        child=serializers.DictField(), allow_null=True, help_text="The accounts that were asked."
    )

    class Meta:
        model = LedgerEntry
        fields = (
            "request_id",
            "apikey_id",
            "team_id",
            "admitted_at",
            "settled_at",
            "status",
            "http_status",
            "error_type",
            "model_requested",
            "model_answered",
            "streamed",
            "upstream",
            "upstream_request_id",
            "attempts",
            "client_address",
            "client_agent",
            "session_id",
            "agent_id",
            "parent_agent_id",
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_creation_1h_input_tokens",
            "cache_read_input_tokens",
            "web_search_requests",
            "inference_geo",
            "charged_tokens",
            "cost_nanousd",
            "estimated",
            "cache",
            "cache_source",
            "saved_tokens",
            "saved_nanousd",
            "first_byte_ms",
            "total_ms",
        )
        read_only_fields = fields


class LedgerFilters(Filters):
    """Which exchanges to list; each filter has an index."""

    since = Moment(required=False, help_text="Settled at or after.")
    until = Moment(required=False, help_text="Settled before.")
    apikey_id = QueryInteger(min_value=1, required=False)
    team_id = QueryInteger(min_value=1, required=False)
    status = serializers.ChoiceField(
        choices=[TROUBLE],
        required=False,
        help_text="`trouble`: everything that was not completed.",
    )


class Ledger(ServiceViewSet):
    """The ledger, the newest first. Look an exchange up by the `request-id` its client saw."""

    area = "ledger"
    serializer_class = LedgerEntryShown
    filters = LedgerFilters
    queryset = LedgerEntry.objects.all()
    order = ("-settled_at", "-exchange_id")
    lookup_value_converter = "str"

    def list(self, request: Request, **path: Any) -> Response:
        return replica.read(lambda: super(Ledger, self).list(request, **path))

    def get_object(self) -> LedgerEntry:
        text = self.kwargs["pk"]
        if not _REQUEST_ID.fullmatch(text):
            raise Http404
        found = self.get_queryset().filter(pk=UUID(text.removeprefix("req_"))).first()
        if found is None:
            raise Http404
        return found

    def narrowed(
        self, rows: QuerySet[LedgerEntry], asked: Mapping[str, Any]
    ) -> QuerySet[LedgerEntry]:
        lookups = {"since": "settled_at__gte", "until": "settled_at__lt"}
        lookups |= {"apikey_id": "apikey_id", "team_id": "team_id"}
        rows = rows.filter(**{lookups[name]: asked[name] for name in lookups if name in asked})
        if "status" in asked:
            # As the partial index has it.
            rows = rows.exclude(status=ExchangeStatus.COMPLETED.value)
        return rows
