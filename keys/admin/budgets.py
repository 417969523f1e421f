"""Budgets as rows of the page of their key, plan or team, typed as people speak of them."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from keys import services
from keys.admin.base import acting
from keys.core.budget import (
    BadBudget,
    BudgetSpec,
    format_usd,
    format_window,
    parse_tokens,
    parse_usd,
)
from keys.core.limits import Unit
from keys.models import ApiKey, Budget, Plan, Team


class BudgetForm(forms.ModelForm):
    """One budget: an amount of tokens or dollars in a window such as 5h. `spec` is what it says."""

    amount = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"style": "width: 12rem"}),
        help_text="Tokens or US dollars. Empty: unlimited. 0: nothing passes.",
    )
    window = forms.CharField(
        widget=UnfoldAdminTextInputWidget(attrs={"style": "width: 6rem"}),
        help_text="Such as 15m, 5h or 30d.",
    )
    reset = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget,
        label="empty now",
        help_text="Forget what was used so far.",
    )

    class Meta:
        model = Budget
        fields = ("unit", "strict", "anchored")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec: BudgetSpec | None = None
        if self.instance.pk:
            self.initial |= {"amount": amount(self.instance), "window": window(self.instance)}

    def has_changed(self) -> bool:
        # The row a new key begins with is wanted as it stands; a blank one is not.
        if self.instance.pk is None:
            return any(self[name].data for name in ("amount", "window"))
        return super().has_changed()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if {"unit", "window"} <= cleaned.keys():
            try:
                self.spec = _spec(cleaned)
            except BadBudget as error:
                raise ValidationError(str(error)) from error
        return cleaned


class BudgetFormSet(BaseInlineFormSet):
    """The budgets of one holder, no two of one unit and one window."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.forms if form not in self.deleted_forms]
        specs = [form.spec for form in kept if getattr(form, "spec", None) is not None]
        if len({(spec.unit, spec.window_s) for spec in specs}) < len(specs):
            raise ValidationError("There can be one budget of a unit and a window.")


class BudgetInline(TabularInline):
    """The budgets of a key, a plan or a team."""

    model = Budget
    form = BudgetForm
    formset = BudgetFormSet
    fields = ("unit", "amount", "window", "strict", "anchored", "reset")
    extra = 0

    def get_fields(self, request: HttpRequest, obj: ApiKey | Plan | Team | None = None) -> Any:
        may_change = self.has_change_permission(request, obj)
        # Each key of a plan has a window of its own, so there is none to empty here.
        resettable = obj and may_change and not isinstance(obj, Plan)
        return self.fields if resettable else self.fields[:-1]

    # Shown in place of the form's fields to those who may only look.
    def amount(self, budget: Budget) -> str:
        return amount(budget)

    def window(self, budget: Budget) -> str:
        return window(budget)


def save(request: HttpRequest, holder: ApiKey | Plan | Team, formset: BaseInlineFormSet) -> None:
    """Do by services what the rows of `formset` ask for."""
    who = acting(request)
    # Deletions first: they may make room for a row of the same window.
    for form in formset.deleted_forms:
        if form.instance.pk:
            services.budget_remove(budget=form.instance, **who)
    for form in formset.forms:
        if form not in formset.deleted_forms and form.has_changed():
            _save_row(holder, form, who)
    # What Django's log of changes reads after a save.
    formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []


def amount(budget: Budget) -> str:
    """Return the limit as it is typed."""
    if budget.limit_amount is None:
        return ""
    in_usd = budget.unit == Unit.NANOUSD
    return format_usd(budget.limit_amount) if in_usd else str(budget.limit_amount)


def window(budget: Budget) -> str:
    """Return the window as it is typed."""
    return format_window(budget.window_s)


def _save_row(holder: ApiKey | Plan | Team, form: BudgetForm, who: dict[str, Any]) -> None:
    if form.instance.pk is None:
        services.budget_add(holder=holder, spec=form.spec, **who)
        return
    services.budget_update(budget=form.instance, spec=form.spec, **who)
    if form.cleaned_data.get("reset"):
        services.budget_reset(budget=form.instance, **who)


def _spec(cleaned: dict[str, Any]) -> BudgetSpec:
    parse = parse_usd if cleaned["unit"] == Unit.NANOUSD else parse_tokens
    typed = cleaned.get("amount")
    spec = parse(
        f"{typed or 0}/{cleaned['window']}", strict=cleaned["strict"], anchored=cleaned["anchored"]
    )
    return spec if typed else spec.unlimited()
