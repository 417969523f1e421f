"""The console's pages of keys with what they use: the list of keys, and a key's own page.

The list answers "which key is it, and is it in trouble?", a key's page "what does this key do, and
what stands in its way?". Both cost the same number of queries for any number of rows: one round
trip to Valkey and a handful of sums over the roll-up serve all keys of a page.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.views import ChangeList

from keys.admin.apikeys import ApiKeyAdmin
from keys.admin.audit import change_text
from keys.admin.base import moment
from keys.admin.key_actions import KEY_ACTIONS
from keys.inheritance import own_or_plan
from keys.models import ApiKey, AuditEvent, ClaudeModel
from usage import reports
from usage.admin import drawings
from usage.core.figures import compact
from usage.core.price import NANOUSD_PER_USD, humane_usd
from usage.models import HourlyRollup, LedgerEntry
from usage.standing import standings

EXCHANGES_SHOWN = 10
EVENTS_SHOWN = 20
# How long a chart looks back: by which step, how many, and how one is called.
SPANS = {"24h": (reports.HOUR, 24, "%H:%M"), "30d": (reports.DAY, 30, "%d %b")}
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
        use = reports.uses([apikey.pk for apikey in self.result_list], now)
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
        return (*columns, *_USE_COLUMNS) if _may_see_use(request) else columns

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
            context |= self._overview(request, apikey) | self._history(request, apikey)
        return super().change_view(request, object_id, form_url, context)

    def _overview(self, request: HttpRequest, apikey: ApiKey) -> dict[str, Any]:
        now = timezone.now()
        now_ms = int(now.timestamp() * 1000)
        standing = standings([apikey], now)[apikey.pk]
        permitted = self.get_actions(request)
        return {
            "apikey": apikey,
            "rpm_limit": own_or_plan(apikey, "rpm"),
            "concurrency_limit": own_or_plan(apikey, "concurrency"),
            "standing": standing,
            "budget_bars": [drawings.budget_bar(each, now_ms) for each in standing.budgets],
            "key_actions": [
                each
                for name, each in KEY_ACTIONS.items()
                if name in permitted and apikey.status in each.offered
            ],
        }

    def _history(self, request: HttpRequest, apikey: ApiKey) -> dict[str, Any]:
        context: dict[str, Any] = {"may_see_use": _may_see_use(request)}
        if context["may_see_use"]:
            context |= _use(apikey, request.GET.get("span", ""))
        if request.user.has_perm("usage.view_ledgerentry"):
            entries = LedgerEntry.objects.filter(apikey=apikey).order_by("-settled_at")
            context["exchanges"] = [_exchange(entry) for entry in entries[:EXCHANGES_SHOWN]]
        if request.user.has_perm("keys.view_auditevent"):
            events = AuditEvent.objects.filter(target_type="apikey", target_id=apikey.pk)
            context["events"] = [_event(event) for event in events.order_by("-id")[:EVENTS_SHOWN]]
        return context


def _use(apikey: ApiKey, span: str) -> dict[str, Any]:
    """Return what one key used, by hour or by day, as a chart and as its table."""
    span = span if span in SPANS else "24h"
    step, count, label = SPANS[span]
    now = timezone.now()
    begun = reports.hour_of(now) if step == reports.HOUR else reports.midnight(now)
    since = begun - (count - 1) * step
    rows = reports.series(since, now, step, apikey=apikey.pk)
    models = reports.costs_by_model(since, now, step, apikey=apikey.pk)
    catalogue = list(ClaudeModel.objects.values_list("model_id", flat=True))
    dollars = {
        name: [costs.get(row.at, 0) / NANOUSD_PER_USD for row in rows]
        for name, costs in models.items()
    }
    total = reports.totals(since, now, apikey=apikey.pk)
    labels = [row.at.strftime(label) for row in rows]
    return {
        "span": span,
        "spans": tuple(SPANS),
        "chart": drawings.stacked_chart(labels, dollars, drawings.model_colors(catalogue)),
        "rows": [_row(row) for row in reversed(rows) if row.totals.requests],
        "sum": total,
        "sum_cost": humane_usd(total.cost_nanousd),
        "sum_tokens": compact(total.tokens),
    }


def _row(step: reports.Step) -> dict[str, Any]:
    return {"at": step.at, "totals": step.totals, "cost": humane_usd(step.totals.cost_nanousd)}


def _exchange(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "entry": entry,
        "settled": moment(entry.settled_at),
        "model": entry.model_answered or entry.model_requested,
        "tokens": f"{entry.charged_tokens:,}",
        "cost": humane_usd(entry.cost_nanousd),
        "seconds": f"{entry.total_ms / 1000:,.1f}",
    }


def _event(event: AuditEvent) -> dict[str, Any]:
    return {"event": event, "when": moment(event.at), "change": change_text(event.detail)}


def _may_see_use(request: HttpRequest) -> bool:
    return request.user.has_perm("usage.view_hourlyrollup")
