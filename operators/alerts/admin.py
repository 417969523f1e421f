"""The console's pages for alerts: what is open, who is told, what did not get through."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from keys.admin.base import CappedPaginator, ServiceAdmin, acting, moment
from keys.admin.finding import PART_LENGTH_MIN, by_bitmaps, ids_of
from operators.alerts import services
from operators.alerts.core.rules import EPOCH
from operators.alerts.models import KINDS, Alert, AlertDelivery, AlertTarget, Channel


class ReadOnlyAdmin(ServiceAdmin):
    """Rows that nobody writes by hand."""

    paginator = CappedPaginator

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


class OpenFilter(admin.SimpleListFilter):
    """Open, or over?"""

    title, parameter_name = "state", "state"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("over", "Over")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() in ("open", "over"):
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What is wrong now, and what was? Open ones first."""

    empty_says = (
        "Alerts are raised when budgets run low, keys expire or"
        " parts fail. Add alert targets to be told of them."
    )
    list_display = ("text", "state", "kind", "team", "raised", "resolved")
    list_filter = (OpenFilter, "kind")
    list_select_related = ("team",)
    search_fields = ("subject_name",)  # Shows the box; `get_search_results` does the searching.
    search_help_text = "Part of the name of a key, a team or an account."
    ordering = (F("resolved_at").desc(nulls_first=True), "-raised_at")
    fields = ("text", "state", "kind", "subject_name", "team", "threshold", "window", "raised_at")
    fields += ("resolved_at",)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Alert], search_term: str
    ) -> tuple[QuerySet[Alert], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        part = "icontains" if len(term) >= PART_LENGTH_MIN else "istartswith"
        with by_bitmaps():
            named = queryset.filter(**{f"subject_name__{part}": term})
            # One more than is counted, so that the list knows that there are others.
            found = ids_of(named, self.paginator.most + 1)
        return queryset.filter(pk__in=found), False

    @display(label={"open": "warning", "over": "success"})
    def state(self, alert: Alert) -> str:
        return "open" if alert.resolved_at is None else "over"

    @display(description="window")
    def window(self, alert: Alert) -> str:
        return "–" if alert.slot == EPOCH else moment(alert.slot)

    @display(description="raised", ordering="raised_at")
    def raised(self, alert: Alert) -> str:
        return moment(alert.raised_at)

    @display(description="over", ordering="resolved_at")
    def resolved(self, alert: Alert) -> str:
        return "–" if alert.resolved_at is None else moment(alert.resolved_at)


class AlertTargetForm(forms.ModelForm):
    """A target, checked as the service checks it."""

    kinds = forms.MultipleChoiceField(
        choices=KINDS,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        required=False,
        help_text="None ticked: all.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        channel = cleaned.get("channel") or self.instance.channel
        if channel and "address" in self.changed_data and cleaned.get("address"):
            services.check_address(channel, cleaned["address"])
        if channel == Channel.WEBHOOK and not self.instance.secret:
            # For the constraints of the model alone; the service makes the real one.
            self.instance.secret = "to be made"
        return cleaned


@admin.register(AlertTarget)
class AlertTargetAdmin(ServiceAdmin):
    """Who is told of what?"""

    empty_says = (
        "Nobody is told of alerts: they are only listed here. Add an e-mail address or a webhook."
    )
    form = AlertTargetForm
    list_display = ("name", "channel", "leads_to", "told_of", "team", "enabled")
    list_select_related = ("team",)
    list_filter = ("enabled", "channel")
    search_fields = ("name",)
    autocomplete_fields = ("team",)
    actions = ("test", "renew_secret")

    def get_fields(self, request: HttpRequest, obj: AlertTarget | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "channel", "address", "kinds", "team", "enabled")
        if not self.has_change_permission(request, obj):
            return ("name", "channel", "leads_to", "told_of", "team", "enabled")
        return ("name", "channel", "address", "kinds", "team", "enabled", "created_at")

    def get_readonly_fields(
        self, request: HttpRequest, obj: AlertTarget | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        if not self.has_change_permission(request, obj):
            return self.get_fields(request, obj)
        return ("channel", "created_at")

    @display(description="address")
    def leads_to(self, target: AlertTarget) -> str:
        return target.masked

    @display(description="told of")
    def told_of(self, target: AlertTarget) -> str:
        return ", ".join(target.kinds) or "all"

    # --- Add and change -------------------------------------------------------------------------

    def save_model(
        self, request: HttpRequest, obj: AlertTarget, form: AlertTargetForm, change: bool
    ) -> None:
        said = form.cleaned_data
        if change:
            changed = services.TargetChanges.__annotations__.keys() & set(form.changed_data)
            changes: Any = {name: said[name] for name in changed}
            stored = AlertTarget.objects.get(pk=obj.pk)
            request.made_secret = services.target_update(
                target=stored, changes=changes, **acting(request)
            )
        else:
            names = ("name", "channel", "address", "kinds", "team", "enabled")
            fields = {name: said[name] for name in names}
            made, request.made_secret = services.target_add(**fields, **acting(request))
            obj.pk = made.pk
        obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: AlertTarget) -> None:
        services.target_delete(target=obj, **acting(request))

    def response_add(
        self, request: HttpRequest, obj: AlertTarget, post_url_continue: str | None = None
    ) -> HttpResponse:
        if request.made_secret:
            return self._secret_page(request, obj, request.made_secret)
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: AlertTarget) -> HttpResponse:
        if request.made_secret:
            return self._secret_page(request, obj, request.made_secret)
        return super().response_change(request, obj)

    # --- Actions --------------------------------------------------------------------------------

    @action(description="Send a test", permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet[AlertTarget]) -> None:
        for target in queryset:
            if error := services.target_test(target=target, **acting(request)):
                self.message_user(request, f"{target}: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{target}: the test was taken.", messages.SUCCESS)

    @action(description="New secret (the old one ends now)", permissions=["change"])
    def renew_secret(
        self, request: HttpRequest, queryset: QuerySet[AlertTarget]
    ) -> HttpResponse | None:
        target = queryset.filter(channel=Channel.WEBHOOK).first()
        if target is None or queryset.count() != 1:
            self.message_user(request, "Select one webhook.", messages.ERROR)
            return None
        secret = services.target_renew_secret(target=target, **acting(request))
        return self._secret_page(request, target, secret)

    def _secret_page(self, request: HttpRequest, target: AlertTarget, secret: str) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts}
        context |= {"title": f"The secret of {target}", "target": target, "secret_text": secret}
        page = TemplateResponse(request, "admin/alerts/secret.html", context)
        page["Cache-Control"] = "no-store"
        return page


class StateFilter(admin.SimpleListFilter):
    """Waiting, delivered, or given up?"""

    title, parameter_name = "state", "state"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting"), ("delivered", "Delivered"), ("dead", "Given up")]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[AlertDelivery]
    ) -> QuerySet[AlertDelivery]:
        fields = {"waiting": "next_at", "delivered": "delivered_at", "dead": "dead_at"}
        if field := fields.get(self.value() or ""):
            return queryset.filter(**{f"{field}__isnull": False})
        return queryset


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnlyAdmin):
    """What got through, what is on its way, and what was given up?"""

    empty_says = "What alert targets were told is here: what got through, and what did not."
    list_display = ("alert", "event", "target", "state", "attempts", "last_error", "when")
    list_select_related = ("alert", "target")
    list_filter = (StateFilter,)
    search_fields = ("target__name",)
    fields = (
        "alert",
        "event",
        "target",
        "state",
        "attempts",
        "last_error",
        "next_at",
        "delivered_at",
    )
    fields += ("dead_at",)
    actions = ("replay",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.replay_alertdelivery")

    @display(label={"waiting": "info", "delivered": "success", "dead": "danger"})
    def state(self, delivery: AlertDelivery) -> str:
        return delivery.state

    @display(description="when")
    def when(self, delivery: AlertDelivery) -> str:
        at = delivery.delivered_at or delivery.dead_at or delivery.next_at
        return "–" if at is None else moment(at)

    @action(description="Replay (of those given up)", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[AlertDelivery]) -> None:
        done = [services.delivery_replay(delivery=row, **acting(request)) for row in queryset]
        self.message_user(request, f"Deliveries to be tried again: {sum(done)}.")
