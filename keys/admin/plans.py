"""The console's pages for plans, and what of its plan a key's own page shows."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.widgets import UnfoldAdminTextInputWidget

from keys import services
from keys.admin import budgets
from keys.admin.base import acting
from keys.admin.holders import HolderAdmin
from keys.changes import require_offered
from keys.core.budget import format_amount, format_window
from keys.core.limits import Unit
from keys.inheritance import Holding, holdings, terms
from keys.models import ApiKey, Plan

# What a key may take from its plan, in the words of its page.
LABELS = {
    "rpm": "Requests a minute",
    "concurrency": "In flight",
    "wait_s": "Wait for a slot",
    "models": "Models",
    "cache_enabled": "Response cache",
    "hangup": "When the client hangs up",
}
FIELDS = ("name", "rpm", "concurrency", "wait_s", "models", "cache_enabled", "hangup")


class PlanForm(forms.ModelForm):
    """The fields of a plan, checked as the services check them."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "models" in self.changed_data:
            require_offered(cleaned.get("models") or [])
        return cleaned


@admin.register(Plan)
class PlanAdmin(HolderAdmin):
    """Plans. A change reaches every key that follows it within a second."""

    empty_says = (
        "A plan is a template of limits that many keys follow. Add one, then choose it on keys."
    )
    form = PlanForm
    fields = FIELDS
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    inlines = (budgets.BudgetInline,)
    list_display = ("name", "keys", "rpm", "concurrency", "budgets")
    search_fields = ("name",)

    def create(self, **fields: Any) -> Plan:
        who = {name: fields.pop(name) for name in ("acting_user", "acting_address")}
        return services.plan_create(name=fields.pop("name"), fields=fields, **who)

    def update(self, row: Plan, **arguments: Any) -> None:
        services.plan_update(plan=row, **arguments)

    def delete_model(self, request: HttpRequest, obj: Plan) -> None:
        services.plan_delete(plan=obj, **acting(request))


def in_force(apikey: ApiKey) -> str:
    """Return a table of what binds the key by itself, and who says so: the key or its plan."""
    now, held = timezone.now(), holdings([apikey])[apikey]
    has = terms(apikey, held, now)
    rows = [
        (label, shown(getattr(has, name)), _source(apikey, name in apikey.inherited))
        for name, label in LABELS.items()
    ]
    rows += [("Budget", _budget(holding), _source(apikey, holding.inherited)) for holding in held]
    cells = format_html_join(
        "", '<tr><td class="pr-4">{}</td><td class="pr-4">{}</td><td>{}</td></tr>', rows
    )
    head = '<tr><th class="pr-4">Limit</th><th class="pr-4">In force</th><th>From</th></tr>'
    return format_html('<table class="text-left">' + head + "{}</table>", cells)


def shown(value: Any) -> str:
    """Return a limit as people read it."""
    if value is None:
        return "unlimited"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value) or "all"
    return str(value)


def _budget(holding: Holding) -> str:
    now = timezone.now()
    until, spec = holding.raised_until(now), holding.spec(now)
    if until is None:
        return str(holding.budget)
    amount = format_amount(Unit(spec.unit), spec.limit)
    window = format_window(spec.window_s)
    return f"{amount} / {window} until {until:%Y-%m-%d %H:%M} UTC, then {holding.budget}"


def _source(apikey: ApiKey, inherited: bool) -> str:
    return f"plan {apikey.plan}" if inherited else "this key"
