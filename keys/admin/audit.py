"""The console's page of the audit trail: who changed what, newest first, never counted."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from keys.admin.base import moment
from keys.models import AuditEvent

# A bigint has 19.
DIGITS_MAX = 19


def change_text(detail: dict[str, Any]) -> str:
    """Return what an event says of the change: `rpm: 60 → 7; name: laptop`."""
    return "; ".join(f"{name}: {_value(value)}" for name, value in detail.items()) or "–"


class WhatFilter(admin.SimpleListFilter):
    """Events by what they were done to."""

    title = "Done to what?"
    parameter_name = "target"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("apikey", "API keys"),
            ("team", "Teams"),
            ("upstreamaccount", "Upstream accounts"),
            ("claudemodel", "Models"),
            ("price", "Prices"),
            ("maintenance", "Maintenance"),
            ("everybody", "Everybody at once"),
        ]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[AuditEvent]
    ) -> QuerySet[AuditEvent]:
        return queryset.filter(target_type=self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ModelAdmin):
    """The audit trail, to look at."""

    list_display = ("when", "actor_name", "action", "target", "change", "address")
    list_display_links = ("when",)
    list_filter = (WhatFilter,)
    fields = ("at", "actor_name", "action", "target", "change", "detail", "address")
    search_fields = ("=actor_name", "=action", "=target_id")
    search_help_text = "A whole user name, action or target id."
    sortable_by = ()
    ordering = ("-id",)
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        """Find whole words alone, each out of an index."""
        del request
        word = search_term.strip()
        if not word:
            return queryset, False
        found = Q(actor_name__iexact=word) | Q(action__iexact=word)
        if word.isascii() and word.isdigit() and len(word) < DIGITS_MAX:
            found |= Q(target_id=int(word))
        return queryset.filter(found), False

    @display(description="when")
    def when(self, event: AuditEvent) -> str:
        return moment(event.at)

    @display(description="target")
    def target(self, event: AuditEvent) -> str:
        name = f"{event.target_type} {event.target_id}" if event.target_id else event.target_type
        for app in ("keys", "usage", "proxy"):
            try:
                page = reverse(f"admin:{app}_{event.target_type}_change", args=[event.target_id])
            except NoReverseMatch:
                continue
            return format_html('<a class="cc-link" href="{}">{}</a>', page, name)
        return name

    @display(description="change")
    def change(self, event: AuditEvent) -> str:
        return change_text(event.detail)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: AuditEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: AuditEvent | None = None) -> bool:
        return False


def _value(value: Any) -> str:
    match value:
        case [before, after]:
            return f"{_plain(before)} → {_plain(after)}"
        case list():
            return ", ".join(map(_plain, value)) or "none"
        case _:
            return _plain(value)


def _plain(value: Any) -> str:
    match value:
        case None | "" | []:
            return "none"
        case bool():
            return "on" if value else "off"
        case list():
            return ", ".join(map(_plain, value))
        case _:
            return str(value)
