"""The console's pages for API keys: list, issue, change. `actions` has what else is done to them.

A secret is in the answer to the very request that made the key and nowhere else: in no URL, no
session, no message, no log. The same form sent again, by a reload or a second click, makes no
second key.
"""

import hashlib
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.fields import ArrayField
from django.db.models import Field, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from keys import services
from keys.admin import budgets
from keys.admin.actions import ApiKeyActions
from keys.admin.base import acting, purge
from keys.changes import require_future, require_offered
from keys.core.access import Hangup, KeyStatus
from keys.models import ApiKey, Budget

FIELDS = (
    "name",
    "team",
    "owner",
    "rpm",
    "concurrency",
    "models",
    "cidrs",
    "expires_at",
    "hangup",
    "wait_s",
    "cache_enabled",
    "during_maintenance",
)
ISSUED = "apikeys_issued"
# More forms than anyone has open; each entry is 64 characters of a session row.
ISSUED_MAX = 20


class ApiKeyForm(forms.ModelForm):
    """The fields of a key, checked as the services check them."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "models" in self.changed_data:
            require_offered(cleaned.get("models") or [])
        if self.instance.pk is None:
            require_future(cleaned.get("expires_at"))
        return cleaned


class StatusFilter(admin.SimpleListFilter):
    """Keys by the state of their life."""

    title = "status"
    parameter_name = "status"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value) for status in KeyStatus]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        wanted = {
            KeyStatus.ACTIVE: live & Q(disabled_at=None),
            KeyStatus.DISABLED: live & Q(disabled_at__isnull=False),
            KeyStatus.EXPIRED: Q(revoked_at=None, expires_at__lte=timezone.now()),
            KeyStatus.REVOKED: Q(revoked_at__isnull=False),
        }
        return queryset.filter(wanted[self.value()]) if self.value() in wanted else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ApiKeyActions):
    """Keys, with their budgets. A key is revoked, never deleted: the ledger points at it."""

    form = ApiKeyForm
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    inlines = (budgets.BudgetInline,)
    autocomplete_fields = ("team", "owner")
    list_display = ("name", "masked", "state", "team", "rpm", "concurrency", "budgets")
    list_filter = (StatusFilter, "team")
    list_select_related = ("team",)
    search_fields = ("name", "prefix", "last_four", "team__name", "owner__username")
    actions_list = ("purge_everything",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related("budgets")

    def get_fields(self, _request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (*FIELDS, *self._shown(obj))

    def get_readonly_fields(
        self, _request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        return self._shown(obj)

    def formfield_for_dbfield(
        self, db_field: Field, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if isinstance(db_field, ArrayField):
            # Checked by the form field: the model field's complaint would lose its reason there.
            kwargs["base_field"] = forms.CharField(validators=db_field.base_field.validators)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_formset_kwargs(
        self, request: HttpRequest, obj: ApiKey, inline: Any, prefix: str
    ) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        if obj.pk is None:
            kwargs["initial"] = [_typed(spec) for spec in services.BUDGETS_DEFAULT]
        return kwargs

    def get_formsets_with_inlines(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        for formset, inline in super().get_formsets_with_inlines(request, obj):
            if obj is None:
                formset.extra = len(services.BUDGETS_DEFAULT)
            yield formset, inline

    def has_delete_permission(self, _request: HttpRequest, _obj: ApiKey | None = None) -> bool:
        return False

    @display(description="key")
    def masked(self, apikey: ApiKey) -> str:
        return apikey.masked

    @display(
        description="status",
        label={
            KeyStatus.ACTIVE: "success",
            KeyStatus.DISABLED: "warning",
            KeyStatus.EXPIRED: "warning",
            KeyStatus.REVOKED: "danger",
        },
    )
    def state(self, apikey: ApiKey) -> KeyStatus:
        return apikey.status

    @display
    def budgets(self, apikey: ApiKey) -> str:
        return ", ".join(str(budget) for budget in apikey.budgets.all()) or "–"

    # --- Issue and change -----------------------------------------------------------------------

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and _fingerprint(request) in request.session.get(ISSUED, []):
            self.message_user(
                request,
                "This key was issued already; its secret is not shown again.",
                messages.INFO,
            )
            return HttpResponseRedirect(reverse("admin:keys_apikey_changelist"))
        return super().add_view(request, form_url, extra_context)

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool
    ) -> None:
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            services.apikey_update(apikey=obj, changes=changes, **acting(request))
            return
        fields = {name: form.cleaned_data[name] for name in FIELDS}
        fields["hangup"] = Hangup(fields["hangup"])
        # The rows of budgets are saved after the key, in the same transaction.
        apikey, secret = services.apikey_issue(**fields, budgets=(), **acting(request))
        obj.pk = apikey.pk
        obj.refresh_from_db()
        request.issued_secret = secret

    def save_formset(
        self,
        request: HttpRequest,
        form: forms.ModelForm,
        formset: BaseInlineFormSet,
        change: bool,  # noqa: ARG002
    ) -> None:
        budgets.save(request, form.instance, formset)

    def response_add(
        self,
        request: HttpRequest,
        obj: ApiKey,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        issued = [*request.session.get(ISSUED, []), _fingerprint(request)]
        request.session[ISSUED] = issued[-ISSUED_MAX:]
        page = self._page(request, "issued", f"{obj.name} is issued")
        page.context_data |= {"apikey": obj, "secret_text": request.issued_secret.text}
        page["Cache-Control"] = "no-store"
        return page

    # --- For everybody --------------------------------------------------------------------------

    @action(
        description="Purge everybody's response cache",
        permissions=["change"],
        url_path="purge-everything",
    )
    def purge_everything(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return self._page(request, "purge", "Purge everybody's response cache?")
        purge(self, request, [None])
        return HttpResponseRedirect(reverse("admin:keys_apikey_changelist"))

    def _page(self, request: HttpRequest, name: str, title: str) -> TemplateResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/keys/apikey/{name}.html", context)

    def _shown(self, obj: ApiKey | None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("masked", "state", "created_at", "created_by", "disabled_at", "revoked_at")


def _fingerprint(request: HttpRequest) -> str:
    # Each rendering of the form has its own CSRF token, so two wishes never look the same.
    return hashlib.sha256(request.POST.urlencode().encode()).hexdigest()


def _typed(spec: Any) -> dict[str, Any]:
    budget = Budget(unit=spec.unit.value, window_s=spec.window_s, limit_amount=spec.limit)
    return {"unit": budget.unit, "amount": budgets.amount(budget), "window": budgets.window(budget)}
