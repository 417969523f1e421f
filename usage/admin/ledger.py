"""The console's pages of the ledger, its hourly roll-up and dead letters: to look at.

These tables grow for ever, so nothing here counts them, and every search and filter has an index.
"""

import re
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator

from keys.admin.base import moment
from keys.admin.finding import HOLDERS_MAX, find
from keys.core.budget import format_usd
from keys.leads import held_to_teams, led_teams, visible
from keys.models import ApiKey, Team
from usage.admin.costing import costing, source_url
from usage.admin.keyset import KeysetList, KeysetPaginator
from usage.admin.ledger_export import export
from usage.core.event import CacheOutcome, ExchangeStatus
from usage.core.price import humane_usd
from usage.models import DeadLetter, HourlyRollup, LedgerEntry
from usage.retention import kept_since

_EXCHANGE_ID = re.compile(r"(req_)?(?P<id>[0-9a-f]{32})", re.IGNORECASE)


class ReadOnlyAdmin(ModelAdmin):
    """A page of a table that is never counted and that nobody changes here."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


class HeldAdmin(ReadOnlyAdmin):
    """A page of rows that have a key and perhaps a team. Leads of teams see those of theirs."""

    search_fields = ("apikey",)  # Shows the search box; `get_search_results` does the searching.
    search_help_text = "A key's name, prefix or last four, or a team's name."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not by a join: a row whose key is gone from the table must show too.
        rows = super().get_queryset(request).prefetch_related("apikey", "team")
        return visible(request.user, rows)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or held_to_teams(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_view_permission(request, obj) or held_to_teams(request.user)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(_held_by(term)) if term else queryset), False

    @display(description="API key")
    def key(self, row: LedgerEntry | HourlyRollup) -> str:
        return str(getattr(row, "apikey", None) or f"key {row.apikey_id}")

    @display(description="team")
    def team_name(self, row: LedgerEntry | HourlyRollup) -> str:
        if row.team_id is None:
            return "–"
        return str(getattr(row, "team", None) or f"team {row.team_id}")

    @display(description="charged tokens")
    def charged(self, row: LedgerEntry | HourlyRollup) -> str:
        return _right(f"{row.charged_tokens:,}")

    @display(description="input")
    def input(self, row: LedgerEntry | HourlyRollup) -> str:
        return _right(f"{row.input_tokens:,}")

    @display(description="output")
    def output(self, row: LedgerEntry | HourlyRollup) -> str:
        return _right(f"{row.output_tokens:,}")

    @display(description="cost")
    def cost(self, row: LedgerEntry | HourlyRollup) -> str:
        return _right(humane_usd(row.cost_nanousd))


class EndFilter(admin.SimpleListFilter):
    """Exchanges by how they ended, if not as they should: those have an index."""

    title = "Did it go wrong?"
    parameter_name = "status"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        troubles = [status for status in ExchangeStatus if status is not ExchangeStatus.COMPLETED]
        return [("any", "Yes, somehow")] + [(s.value, s.value.replace("_", " ")) for s in troubles]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[LedgerEntry]
    ) -> QuerySet[LedgerEntry]:
        if self.value() is None:
            return queryset
        troubled = queryset.exclude(status=ExchangeStatus.COMPLETED.value)
        return troubled if self.value() == "any" else troubled.filter(status=self.value())


@admin.register(LedgerEntry)
class LedgerEntryAdmin(HeldAdmin):
    """Every exchange, newest first."""

    empty_says = "Every exchange is here within two seconds of its end. Send a request with a key."
    list_before_template = "admin/usage/ledgerentry/kept.html"
    list_display = (
        "settled",
        "key",
        "team_name",
        "answered_by",
        "ended",
        "cached",
        "input",
        "output",
        "charged",
        "cost",
        "seconds",
    )
    list_display_links = ("settled",)
    list_filter = ("settled_at", EndFilter)
    ordering = ("-settled_at", "-exchange_id")
    sortable_by = ()  # Any other order would be a sort of all there is.
    paginator = KeysetPaginator
    actions_list = ("export_csv",)
    change_form_outer_before_template = "admin/usage/ledgerentry/cost.html"
    search_help_text = "A request id, a key's name, prefix or last four, or a team's name."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "request_id",
                    "key",
                    "team_name",
                    "admitted_at",
                    "settled_at",
                    "status",
                    "http_status",
                    "error_type",
                    "streamed",
                    "first_byte_ms",
                    "total_ms",
                )
            },
        ),
        (
            "Tokens and cost",
            {
                "fields": (
                    "input_tokens",
                    "output_tokens",
                    "cache_creation_input_tokens",
                    "cache_creation_1h_input_tokens",
                    "cache_read_input_tokens",
                    "web_search_requests",
                    "charged_tokens",
                    "exact_cost",
                    "estimated",
                    "input_tokens_estimate",
                    "cost_nanousd_estimate",
                    "anchors",
                )
            },
        ),
        (
            "Response cache",
            {"fields": ("cache", "cache_source", "saved_tokens", "saved_cost")},
        ),
        (
            "Upstream",
            {
                "fields": (
                    "model_requested",
                    "model_answered",
                    "upstream",
                    "upstream_request_id",
                    "tried",
                    "inference_geo",
                )
            },
        ),
        (
            "Client",
            {
                "fields": (
                    "client_address",
                    "client_agent",
                    "session_id",
                    "agent_id",
                    "parent_agent_id",
                )
            },
        ),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        if match := _EXCHANGE_ID.fullmatch(search_term.strip().replace("-", "")):
            return queryset.filter(pk=UUID(match["id"])), False
        return super().get_search_results(request, queryset, search_term)

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        since = kept_since(_teams_seen(request))
        return super().changelist_view(request, {**(extra_context or {}), "kept_since": since})

    @action(description="Export as CSV", permissions=["export_csv"], url_path="export")
    def export_csv(self, request: HttpRequest) -> HttpResponseBase:
        name = f"ledger-{timezone.now():%Y-%m-%d}"
        return export(self.get_changelist_instance(request).queryset, name)

    def has_export_csv_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        entry = self.get_object(request, object_id)
        if entry is not None:
            context |= {"costing": costing(entry), "source_url": source_url(entry)}
        return super().change_view(request, object_id, form_url, context)

    @display(description="settled")
    def settled(self, entry: LedgerEntry) -> str:
        return moment(entry.settled_at)

    @display(description="model")
    def answered_by(self, entry: LedgerEntry) -> str:
        return entry.model_answered or entry.model_requested

    @display(
        description="status",
        label={
            ExchangeStatus.COMPLETED.value: "success",
            ExchangeStatus.HUNG_UP.value: "info",
            ExchangeStatus.UPSTREAM_ERROR.value: "danger",
            ExchangeStatus.GATEWAY_ERROR.value: "danger",
            ExchangeStatus.ABANDONED.value: "warning",
        },
    )
    def ended(self, entry: LedgerEntry) -> str:
        return entry.status

    @display(
        description="cache",
        label={CacheOutcome.HIT.value: "success", CacheOutcome.MISS.value: "info"},
    )
    def cached(self, entry: LedgerEntry) -> str:
        return entry.cache

    @display(description="attempts")
    def tried(self, entry: LedgerEntry) -> str:
        if entry.attempts is None:
            return "not known"
        return (
            format_html_join(
                "", "<div>{}: {} after {} s</div>", (_attempt(each) for each in entry.attempts)
            )
            or "none"
        )

    @display(description="seconds")
    def seconds(self, entry: LedgerEntry) -> str:
        return _right(f"{entry.total_ms / 1000:,.1f}")

    @display(description="cost")
    def exact_cost(self, entry: LedgerEntry) -> str:
        return f"{format_usd(entry.cost_nanousd)} USD"

    @display(description="cost saved")
    def saved_cost(self, entry: LedgerEntry) -> str:
        return f"{format_usd(entry.saved_nanousd)} USD"


@admin.register(HourlyRollup)
class HourlyRollupAdmin(HeldAdmin):
    """What each key used of each model, hour by hour."""

    empty_says = (
        "Sums are here within two seconds of the first exchange. Send a request with a key."
    )
    list_display = (
        "hour",
        "key",
        "team_name",
        "model",
        "requests_made",
        "failed",
        "hits",
        "input",
        "output",
        "charged",
        "cost",
        "saved",
    )
    list_filter = ("hour",)
    ordering = ("-hour",)
    fields = (
        "hour",
        "key",
        "team_name",
        "model",
        "requests_made",
        "failed",
        "hung_up",
        "abandoned",
        "estimated",
        "input",
        "output",
        "cache_written",
        "cache_read",
        "web_search_requests",
        "charged",
        "cost",
        "hits",
        "cache_misses",
        "saved",
    )

    @display(description="cache write tokens")
    def cache_written(self, row: HourlyRollup) -> str:
        return _right(f"{row.cache_creation_input_tokens:,}")

    @display(description="cache read tokens")
    def cache_read(self, row: HourlyRollup) -> str:
        return _right(f"{row.cache_read_input_tokens:,}")

    @display(description="requests")
    def requests_made(self, row: HourlyRollup) -> str:
        return _right(f"{row.requests:,}")

    @display(description="errors")
    def failed(self, row: HourlyRollup) -> str:
        return _right(f"{row.errors:,}")

    @display(description="cache hits")
    def hits(self, row: HourlyRollup) -> str:
        return _right(f"{row.cache_hits:,}")

    @display(description="saved by cache")
    def saved(self, row: HourlyRollup) -> str:
        return _right(humane_usd(row.saved_nanousd))


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Events that could not become ledger entries, newest first."""

    empty_says = "That is as it should be: every exchange could be written to the ledger."
    list_display = ("found_at", "shard", "stream_id", "error")
    ordering = ("-id",)


def _held_by(term: str) -> Q:
    # As numbers, so that Postgres sees how few they are and takes the index.
    teams = Team.objects.filter(name__icontains=term).order_by().values_list("pk", flat=True)
    apikeys = find(ApiKey.objects.all(), term, HOLDERS_MAX)
    return Q(apikey__in=apikeys) | Q(team__in=list(teams[:HOLDERS_MAX]))


def _attempt(attempt: dict[str, Any]) -> tuple[str, str, str]:
    seconds = f"{attempt['milliseconds'] / 1000:,.3f}"
    return attempt["account"], attempt["outcome"], seconds


def _right(text: str) -> str:
    return format_html('<div class="text-right">{}</div>', text)


def _teams_seen(request: HttpRequest) -> list[int] | None:
    """Return the teams whose exchanges are shown to a lead; `None` is everybody's."""
    user = request.user
    return list(led_teams(user).values_list("pk", flat=True)) if held_to_teams(user) else None
