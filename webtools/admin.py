"""The console's pages of web tools: the account at Tavily, prices of a credit, rules for keys.

A credential goes in and never comes out.
"""

from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from keys.admin.base import ServiceAdmin, acting, moment
from proxy.admin.credential import CredentialForm
from webtools import services
from webtools.models import CreditPrice, TavilyAccount, ToolRule
from webtools.trial import tavily_test

NANOUSD_PER_USD = 1_000_000_000


class TavilyAccountForm(CredentialForm):
    """The account, with a new credential beside it."""

    credential_help = "A key of Tavily's: tvly-… It is stored sealed and never shown again."
    removal_label = "Remove the credential"

    class Meta:
        model = TavilyAccount
        fields = ("enabled", "keys_enabled", "always", "calls_per_day")


@admin.register(TavilyAccount)
class TavilyAccountAdmin(ServiceAdmin):
    """The account at Tavily: one row, opened at once. Does it work, and who may use it?"""

    form = TavilyAccountForm
    fields = (
        "enabled",
        "new_credential",
        "remove_credential",
        "keys_enabled",
        "always",
        "calls_per_day",
    )
    actions_submit_line = ("save_and_test",)

    def changelist_view(
        self, request: HttpRequest, _extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        services.tavily_account_ensure()
        row = reverse("admin:webtools_tavilyaccount_change", args=[TavilyAccount.SINGLETON_ID])
        return HttpResponseRedirect(row)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_delete_permission(
        self, _request: HttpRequest, _obj: TavilyAccount | None = None
    ) -> bool:
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: TavilyAccount,  # noqa: ARG002
        form: TavilyAccountForm,
        change: bool,  # noqa: ARG002
    ) -> None:
        said = form.cleaned_data
        changes = services.TavilyAccountChanges(
            enabled=said["enabled"],
            keys_enabled=said["keys_enabled"],
            always=said["always"],
            calls_per_day=said["calls_per_day"],
        )
        credential = form.wanted_credential()
        services.tavily_set(changes=changes, credential=credential, **acting(request))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Save; when that was asked for, test what was saved, after its transaction."""
        answer = super().changeform_view(request, *args, **kwargs)
        if "save_and_test" not in request.POST or answer.status_code != HTTPStatus.FOUND:
            return answer
        trial = tavily_test()
        self.message_user(request, trial.text, messages.SUCCESS if trial.good else messages.ERROR)
        row = reverse("admin:webtools_tavilyaccount_change", args=[TavilyAccount.SINGLETON_ID])
        return HttpResponseRedirect(row)

    @action(description="Save and test", permissions=["change"])
    def save_and_test(self, _request: HttpRequest, _obj: TavilyAccount) -> None:
        """Only the button: `changeform_view` does it."""


class CreditPriceForm(forms.ModelForm):
    """A price as Tavily's list prints it."""

    credit_usd = forms.DecimalField(
        label="A credit, USD",
        min_value=Decimal(0),
        max_value=Decimal(1000),
        decimal_places=9,
        help_text="US dollars. Tavily's price as one goes is 0.008.",
        widget=UnfoldAdminDecimalFieldWidget,
    )

    class Meta:
        model = CreditPrice
        fields = ("starts_at",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["credit_usd"] = Decimal(self.instance.credit_nanousd) / NANOUSD_PER_USD


@admin.register(CreditPrice)
class CreditPriceAdmin(ServiceAdmin):
    """Prices of a credit. A new price is a new row; an old one stays, since it was charged."""

    form = CreditPriceForm
    fields = ("starts_at", "credit_usd")
    list_display = ("starts", "usd")

    def has_delete_permission(self, _request: HttpRequest, _obj: CreditPrice | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: CreditPrice, form: forms.ModelForm, change: bool
    ) -> None:
        fields = services.CreditPriceFields(
            starts_at=form.cleaned_data["starts_at"],
            credit_nanousd=int(form.cleaned_data["credit_usd"] * NANOUSD_PER_USD),
        )
        stored = services.credit_price_set(
            price=obj if change else None, fields=fields, **acting(request)
        )
        obj.pk = stored.pk

    @display(description="in force from", ordering="starts_at")
    def starts(self, price: CreditPrice) -> str:
        return moment(price.starts_at)

    @display(description="a credit, USD", ordering="credit_nanousd")
    def usd(self, price: CreditPrice) -> str:
        return f"${Decimal(price.credit_nanousd) / NANOUSD_PER_USD:f}"


@admin.register(ToolRule)
class ToolRuleAdmin(ServiceAdmin):
    """Which keys and plans may use web tools otherwise than all others, and how often a day."""

    empty_says = (
        "All keys may use web tools as the Tavily account says."
        " Add a rule for keys or plans that may not."
    )
    fields = ("apikey", "plan", "enabled", "always", "calls_per_day")
    autocomplete_fields = ("apikey", "plan")
    list_display = ("holder", "enabled", "always", "calls", "updated")
    list_filter = ("enabled",)
    list_select_related = ("apikey", "plan")
    search_fields = ("apikey__name", "apikey__prefix", "plan__name")

    def get_readonly_fields(
        self, _request: HttpRequest, obj: ToolRule | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("apikey", "plan")

    def save_model(
        self, request: HttpRequest, obj: ToolRule, form: forms.ModelForm, change: bool
    ) -> None:
        holder = obj.apikey or obj.plan
        assert holder is not None
        changes = services.ToolRuleChanges(
            enabled=form.cleaned_data["enabled"],
            always=form.cleaned_data["always"],
            calls_per_day=form.cleaned_data["calls_per_day"],
        )
        stored = services.tool_rule_set(holder=holder, changes=changes, **acting(request))
        if not change:
            obj.pk = stored.pk

    def delete_model(self, request: HttpRequest, obj: ToolRule) -> None:
        services.tool_rule_delete(rule=obj, **acting(request))

    @display(description="calls a day", ordering="calls_per_day")
    def calls(self, rule: ToolRule) -> str:
        return "unlimited" if rule.calls_per_day is None else f"{rule.calls_per_day:,}"

    @display(description="changed", ordering="updated_at")
    def updated(self, rule: ToolRule) -> str:
        return moment(rule.updated_at)

    @display(description="key or plan")
    def holder(self, rule: ToolRule) -> str:
        return str(rule.apikey or rule.plan)
