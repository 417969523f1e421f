"""The console's pages for API keys: list, issue, change. `actions` has what else is done to them.

A secret is in the answer to the very request that made the key and nowhere else: in no URL, no
session, no message, no log. The same form sent again, by a reload or a second click, makes no
second key.
"""

import datetime as dt
import hashlib
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db.models import Field, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from keys import services
from keys.admin import budgets, plans
from keys.admin.base import CappedPaginator, acting, purge
from keys.admin.bulk import BulkPages
from keys.admin.finding import find
from keys.admin.snippets import snippets
from keys.changes import require_future, require_offered
from keys.core.access import Hangup, KeyStatus, may_match
from keys.core.secret import Secret
from keys.core.terms import INHERIT, INHERITABLE
from keys.inheritance import own_or_plan
from keys.leads import held_to_teams, led_teams
from keys.models import ApiKey, Budget, ClaudeModel

FIELDS = (
    "name",
    "team",
    "owner",
    "plan",
    "inherited",
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

    inherited = forms.MultipleChoiceField(
        required=False,
        choices=[(name, plans.LABELS[name]) for name in INHERITABLE],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="As the plan says",
        help_text="What is ticked follows the plan, and every change of it. The rest is this key's"
        " own, as typed below. Without a plan all is the key's own.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.initial.setdefault("inherited", list(INHERITABLE))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("plan") is None:
            cleaned["inherited"] = []
        if "models" in self.changed_data:
            require_offered(cleaned.get("models") or [])
        if self.instance.pk is None:
            require_future(cleaned.get("expires_at"))
        return cleaned


class StatusFilter(admin.SimpleListFilter):
    """Keys by the state of their life."""

    title = "Does it work?"
    parameter_name = "status"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            (KeyStatus.ACTIVE, "Yes"),
            (KeyStatus.DISABLED, "No, it is disabled"),
            (KeyStatus.EXPIRED, "No, it has expired"),
            (KeyStatus.REVOKED, "No, it is revoked for ever"),
        ]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        wanted = {
            KeyStatus.ACTIVE: live & Q(disabled_at=None),
            KeyStatus.DISABLED: live & Q(disabled_at__isnull=False),
            KeyStatus.EXPIRED: Q(revoked_at=None, expires_at__lte=timezone.now()),
            KeyStatus.REVOKED: Q(revoked_at__isnull=False),
        }
        return queryset.filter(wanted[self.value()]) if self.value() in wanted else queryset


class ExpiryFilter(admin.SimpleListFilter):
    """Keys that work now and will not for long."""

    title = "Does it expire soon?"
    parameter_name = "expires"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("7", "Within 7 days"), ("30", "Within 30 days"), ("never", "It never does")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        if self.value() == "never":
            return queryset.filter(expires_at=None)
        if self.value() not in ("7", "30"):
            return queryset
        now = timezone.now()
        until = now + dt.timedelta(days=int(self.value()))
        return queryset.filter(revoked_at=None, expires_at__gt=now, expires_at__lte=until)


@admin.register(ApiKey)
class ApiKeyAdmin(BulkPages):
    """Keys, with their budgets. A key is revoked, never deleted: the ledger points at it."""

    empty_says = "A developer needs a key to call the gateway. Add one, or import many from CSV."
    form = ApiKeyForm
    team_field = "team"
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    inlines = (budgets.BudgetInline,)
    autocomplete_fields = ("team", "owner", "plan")
    list_display = (
        "name",
        "masked",
        "state",
        "team",
        "plan",
        "requests",
        "in_flight",
        "budgets",
    )
    list_filter = (StatusFilter, ExpiryFilter, ("team", AutocompleteSelectFilter), "plan")
    list_filter_submit = True
    list_select_related = ("team", "owner", "plan")
    search_fields = ("name",)  # Shows the box; `get_search_results` does the searching.
    search_help_text = "A name, the last four characters, an owner, a team, or sk-cc-…"
    paginator = CappedPaginator
    list_per_page = 25
    sortable_by = ()
    actions_list = (*BulkPages.actions_list, "purge_everything")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related("budgets", "plan__budgets")

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        # The pages that would complete them are not a lead's to see.
        return () if held_to_teams(request.user) else self.autocomplete_fields

    def formfield_for_foreignkey(
        self, db_field: Field, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if held_to_teams(request.user):
            teams = led_teams(request.user)
            if db_field.name == "team":
                kwargs |= {"queryset": teams, "required": True}
            if db_field.name == "owner":
                members = User.objects.filter(memberships__team__in=teams)
                kwargs["queryset"] = members.distinct()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[ApiKey], search_term: str
    ) -> tuple[QuerySet[ApiKey], bool]:
        if not search_term.strip():
            return queryset, False
        # One more than is counted, so that the list knows that there are others.
        found = find(queryset, search_term, self.paginator.most + 1)
        return queryset.filter(pk__in=found), False

    def get_fields(self, _request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (*FIELDS, *self._shown(obj))

    def get_readonly_fields(
        self, _request: HttpRequest, obj: ApiKey | None = None
    ) -> tuple[str, ...]:
        return self._shown(obj)

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

    @display(description="requests a minute")
    def requests(self, apikey: ApiKey) -> str:
        return plans.shown(own_or_plan(apikey, "rpm"))

    @display(description="concurrency")
    def in_flight(self, apikey: ApiKey) -> str:
        return plans.shown(own_or_plan(apikey, "concurrency"))

    @display
    def budgets(self, apikey: ApiKey) -> str:
        own = list(apikey.budgets.all())
        taken = {(budget.unit, budget.window_s) for budget in own}
        given = apikey.plan.budgets.all() if apikey.plan else ()
        own += [budget for budget in given if (budget.unit, budget.window_s) not in taken]
        return ", ".join(str(budget) for budget in own) or "–"

    @display(description="limits in force")
    def in_force(self, apikey: ApiKey) -> str:
        return plans.in_force(apikey)

    # --- Issue and change -----------------------------------------------------------------------

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and self.shown_before(request):
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
        fields |= dict.fromkeys(fields.pop("inherited"), INHERIT)
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
        change: bool,
    ) -> None:
        if not change and form.instance.plan_id is not None:
            # The row that a new form begins with is for keys without a plan.
            formset.forms = [
                row
                for row in formset.forms
                if getattr(row, "spec", None) not in services.BUDGETS_DEFAULT
            ]
        budgets.save(request, form.instance, formset)

    def response_add(
        self,
        request: HttpRequest,
        obj: ApiKey,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        return self.secret_page(request, obj, request.issued_secret, f"{obj.name} is issued")

    def shown_before(self, request: HttpRequest) -> bool:
        return _fingerprint(request) in request.session.get(ISSUED, [])

    def remember_shown(self, request: HttpRequest) -> None:
        issued = [*request.session.get(ISSUED, []), _fingerprint(request)]
        request.session[ISSUED] = issued[-ISSUED_MAX:]

    def secret_page(
        self, request: HttpRequest, apikey: ApiKey, secret: Secret, title: str
    ) -> HttpResponse:
        self.remember_shown(request)
        page = self._page(request, "issued", title)
        base_url = (settings.PUBLIC_URL or request.build_absolute_uri("/")).rstrip("/")
        ready = snippets(base_url=base_url, secret=secret.text, model=_example_model(apikey))
        page.context_data |= {"apikey": apikey, "secret_text": secret.text, "snippets": ready}
        page["Cache-Control"] = "no-store"
        return page

    # --- For everybody --------------------------------------------------------------------------

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request) and not self._leads(request)

    @action(
        description="Purge everybody's response cache",
        permissions=["purge"],
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
        shown = ["masked", "state", "in_force", "created_at", "created_by"]
        return (*shown, "previous_expires_at", "disabled_at", "revoked_at")


def _example_model(apikey: ApiKey) -> str:
    """Return a model that the key may call, the first on the list."""
    known = ClaudeModel.objects.filter(enabled=True).values_list("model_id", flat=True)
    patterns = own_or_plan(apikey, "models")
    allowed = (m for m in known if not patterns or any(may_match(p, m) for p in patterns))
    return next(allowed, "claude-sonnet-4-5")


def _fingerprint(request: HttpRequest) -> str:
    # Each rendering of the form has its own CSRF token, so two wishes never look the same.
    return hashlib.sha256(request.POST.urlencode().encode()).hexdigest()


def _typed(spec: Any) -> dict[str, Any]:
    budget = Budget(unit=spec.unit.value, window_s=spec.window_s, limit_amount=spec.limit)
    return {"unit": budget.unit, "amount": budgets.amount(budget), "window": budgets.window(budget)}
