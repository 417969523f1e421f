"""The console's pages for the model catalogue and the maintenance switch."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from keys import services
from keys.admin.base import ServiceAdmin, acting
from keys.models import ClaudeModel, Maintenance

CHANGEABLE = (
    "display_name",
    "released_at",
    "context_window_tokens",
    "output_tokens_max",
    "cache_ttl_s",
    "enabled",
    "position",
)


@admin.register(ClaudeModel)
class ClaudeModelAdmin(ServiceAdmin):
    """Models on offer. Prices point at them: one is taken off the list, never deleted."""

    fields = ("model_id", *CHANGEABLE)
    list_display = ("model_id", "display_name", "enabled", "context_window_tokens", "position")
    search_fields = ("model_id", "display_name")

    def get_readonly_fields(
        self, _request: HttpRequest, obj: ClaudeModel | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("model_id",)

    def has_delete_permission(self, _request: HttpRequest, _obj: ClaudeModel | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: ClaudeModel, form: forms.ModelForm, change: bool
    ) -> None:
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            services.claude_model_update(claude_model=obj, changes=changes, **acting(request))
            return
        fields = {name: form.cleaned_data[name] for name in CHANGEABLE}
        model_id = form.cleaned_data["model_id"]
        made = services.claude_model_create(model_id=model_id, fields=fields, **acting(request))
        obj.pk = made.pk


@admin.register(Maintenance)
class MaintenanceAdmin(ServiceAdmin):
    """The maintenance switch: one row, opened at once."""

    fields = ("enabled", "message", "retry_after_s")

    def changelist_view(
        self, _request: HttpRequest, _extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = reverse("admin:keys_maintenance_change", args=[Maintenance.SINGLETON_ID])
        return HttpResponseRedirect(row)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Maintenance | None = None) -> bool:
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: Maintenance,  # noqa: ARG002
        form: forms.ModelForm,
        change: bool,  # noqa: ARG002
    ) -> None:
        fields = {name: form.cleaned_data[name] for name in self.fields}
        services.maintenance_set(**fields, **acting(request))
