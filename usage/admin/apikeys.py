"""The console's pages of keys with what they use: the list of keys, and a key's own page.

The list answers "which key is it, and is it in trouble?", a key's page "what does this key do, and
what stands in its way?". Both cost the same number of queries for any number of rows: one round
trip to Valkey and a handful of sums over the roll-up serve all keys of a page.
"""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.views import ChangeList

from keys.admin.apikeys import ApiKeyAdmin
from keys.admin.base import moment
from keys.admin.key_actions import KEY_ACTIONS
from keys.models import ApiKey
from usage import reports
from usage.admin import drawings, key_page
from usage.core.price import humane_usd
from usage.models import HourlyRollup, LedgerEntry
from usage.standing import standings

_USE_COLUMNS = ("last_used", "cost", "day")


class UsedFilter(admin.SimpleListFilter):
    """Keys by when they were last used."""

    title = "Is it used?"
    parameter_name = "used"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("day", "Yes, in the last 24 hours"), ("never", "It never was")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        # One look into an index for each key that is shown, not a list of all that were used.
        mine = {"apikey_id": OuterRef("pk")}
        if self.value() == "day":
            since = timezone.now() - reports.DAY
            return queryset.filter(Exists(HourlyRollup.objects.filter(hour__gte=since, **mine)))
        if self.value() == "never":
            return queryset.filter(~Exists(LedgerEntry.objects.filter(**mine)))
        return queryset


class KeyList(ChangeList):
    """One page of keys, with how each stands and what it used."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count  # The foot of the page says it once.
        self.result_list = list(self.result_list)
        now = timezone.now()
        standing = standings(self.result_list, now)
        pks = [apikey.pk for apikey in self.result_list]
        use = reports.uses(pks, now, **reports.held_by_teams_of(request.user))
        for apikey in self.result_list:
            apikey.standing, apikey.use, apikey.seen_at = standing[apikey.pk], use[apikey.pk], now


admin.site.unregister(ApiKey)


@admin.register(ApiKey)
class UsedApiKeyAdmin(ApiKeyAdmin):
    """Keys, with how they stand and what they use."""

    list_filter = (*ApiKeyAdmin.list_filter, UsedFilter)
    change_form_outer_before_template = "admin/usage/apikey/overview.html"
    change_form_outer_after_template = "admin/usage/apikey/history.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related(None)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        columns = ("title", "holder", "state", "bars", "now")
        return (*columns, *_USE_COLUMNS) if key_page.may_see_use(request.user) else columns

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ChangeList]:
        return KeyList

    @display(description="key", header=True, ordering="name")
    def title(self, apikey: ApiKey) -> tuple[str, str]:
        return apikey.name, apikey.masked

    @display(description="team, owner", header=True)
    def holder(self, apikey: ApiKey) -> tuple[str, str]:
        return str(apikey.team or "no team"), str(apikey.owner or "no owner")

    @display(description="budgets")
    def bars(self, apikey: ApiKey) -> str:
        now_ms = int(apikey.seen_at.timestamp() * 1000)
        shown = ((drawings.budget_bar(each, now_ms),) for each in apikey.standing.budgets)
        return format_html_join("", "{}", shown) or "no budget"

    @display(description="now")
    def now(self, apikey: ApiKey) -> str:
        standing = apikey.standing
        if standing.in_flight is None:
            return "not known"
        rpm = "–" if standing.rpm is None else f"{standing.rpm:,}"
        return format_html(
            '<div class="cc-figures">{}/min<br>{} in flight</div>', rpm, f"{standing.in_flight:,}"
        )

    @display(description="last used")
    def last_used(self, apikey: ApiKey) -> str:
        return moment(apikey.use.last_used_at) if apikey.use.last_used_at else "never"

    @display(description="cost")
    def cost(self, apikey: ApiKey) -> str:
        return format_html(
            '<div class="cc-figures">{} today<br>{} this month</div>',
            humane_usd(apikey.use.today_nanousd),
            humane_usd(apikey.use.month_nanousd),
        )

    @display(description="24 hours")
    def day(self, apikey: ApiKey) -> str:
        requests = sum(apikey.use.spark)
        label = f"{requests:,} requests in the last 24 hours"
        return drawings.sparkline(apikey.use.spark, label)

    # --- The page of one key --------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        live = self.admin_site.admin_view(self.live_view)
        return [path("<int:apikey_id>/live/", live, name="keys_apikey_live"), *super().get_urls()]

    def live_view(self, request: HttpRequest, apikey_id: int) -> HttpResponse:
        """Answer with the part of a key's page that changes, for the script that reads it again."""
        apikey = self.get_object(request, str(apikey_id))
        if not self.has_view_permission(request, apikey):
            raise PermissionDenied
        if apikey is None:
            raise Http404
        return render(request, "admin/usage/apikey/live.html", key_page.live(request.user, apikey))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        apikey = self.get_object(request, object_id)
        if request.method == "GET" and apikey is not None:
            context |= self._page_of(request, apikey)
        return super().change_view(request, object_id, form_url, context)

    def _page_of(self, request: HttpRequest, apikey: ApiKey) -> dict[str, Any]:
        permitted = self.get_actions(request)
        offered = [
            each
            for name, each in KEY_ACTIONS.items()
            if name in permitted and apikey.status in each.offered
        ]
        return {
            "key_actions": offered,
            "refresh_seconds": key_page.REFRESH_SECONDS,
            **key_page.live(request.user, apikey),
            **key_page.history(request.user, apikey, request.GET.get("span", "")),
        }
