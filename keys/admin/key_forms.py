"""What is asked beside a plain yes before some actions on keys: a day, a plan, a grace, a raise."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from keys.admin.key_actions import KEY_ACTIONS
from keys.core.budget import BadBudget, format_window, parse_tokens, parse_usd
from keys.core.limits import Unit
from keys.inheritance import Holding, holdings
from keys.models import ApiKey, Plan

GRACES = (
    (0, "none: the secret before is refused within a second"),
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
)
EXTENDED_BY = dt.timedelta(days=30)
RAISED_FOR = dt.timedelta(days=7)


class ConfirmForm(forms.Form):
    """What must be typed for a thing that cannot be undone."""

    def __init__(self, data: Any, *, wanted: str, label: str) -> None:
        super().__init__(data)
        self._wanted = wanted
        self.fields["typed"] = forms.CharField(
            label=label,
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            error_messages={"required": f"Type {wanted} to confirm."},
        )

    def clean_typed(self) -> str:
        if self.cleaned_data["typed"].strip() != self._wanted:
            raise forms.ValidationError(f"Type {self._wanted} to confirm.")
        return self._wanted


class ExtendForm(forms.Form):
    """The last day on which keys shall work."""

    last_day = forms.DateField(
        label="Works until the end of",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )

    def clean_last_day(self) -> dt.date:
        last_day: dt.date = self.cleaned_data["last_day"]
        if last_day < timezone.now().date():
            raise forms.ValidationError("This day has passed already.")
        return last_day

    @property
    def expires_at(self) -> dt.datetime:
        """The midnight after that day."""
        after = self.cleaned_data["last_day"] + dt.timedelta(days=1)
        return dt.datetime.combine(after, dt.time(), dt.UTC)


class RotateForm(forms.Form):
    """For how long both secrets work."""

    grace_s = forms.TypedChoiceField(
        label="Both secrets work for",
        coerce=int,
        choices=GRACES,
        initial=86_400,
        widget=UnfoldAdminSelectWidget,
    )

    @property
    def grace(self) -> dt.timedelta:
        """The time for which both work."""
        return dt.timedelta(seconds=self.cleaned_data["grace_s"])


class PlanForm(forms.Form):
    """Which plan keys shall follow."""

    plan = forms.ModelChoiceField(
        Plan.objects.all(),
        label="Plan",
        required=False,
        empty_label="no plan: what a key had of its plan becomes its own",
        widget=UnfoldAdminSelectWidget,
    )
    keep_own = forms.BooleanField(
        label="Keep limits and budgets that are a key's own",
        required=False,
        widget=UnfoldBooleanWidget,
    )


class RaiseForm(forms.Form):
    """Which budget is raised, to what, and until the end of which day."""

    budget = forms.ChoiceField(label="Budget", widget=UnfoldAdminSelectWidget)
    amount = forms.CharField(
        label="Raised to (tokens or US dollars)", widget=UnfoldAdminTextInputWidget
    )
    last_day = forms.DateField(
        label="Until the end of", widget=UnfoldAdminTextInputWidget(attrs={"type": "date"})
    )

    def __init__(self, data: Any, apikeys: Sequence[ApiKey]) -> None:
        last_day = (timezone.now() + RAISED_FOR).date().isoformat()
        super().__init__(data, initial={"last_day": last_day})
        held = holdings(apikeys[:1])[apikeys[0]]
        self._held = {str(each.budget.pk): each for each in held if each.budget.limit_amount}
        self.fields["budget"].choices = [
            (pk, str(each.budget) + (" (plan)" if each.inherited else ""))
            for pk, each in self._held.items()
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if {"budget", "amount"} <= cleaned.keys():
            try:
                cleaned["limit"] = _amount(self.holding, cleaned["amount"])
            except BadBudget as error:
                self.add_error("amount", str(error))
        if "limit" in cleaned and cleaned["limit"] <= (self.holding.budget.limit_amount or 0):
            self.add_error("amount", "The budget allows that much already.")
        if "last_day" in cleaned and self.until <= timezone.now():
            self.add_error("last_day", "This day has passed already.")
        return cleaned

    @property
    def holding(self) -> Holding:
        """The budget that was chosen."""
        return self._held[self.cleaned_data["budget"]]

    @property
    def until(self) -> dt.datetime:
        """The midnight after the last day."""
        after = self.cleaned_data["last_day"] + dt.timedelta(days=1)
        return dt.datetime.combine(after, dt.time(), dt.UTC)


def action_form(name: str, apikeys: Sequence[ApiKey], data: Any) -> forms.Form | None:
    """Return the form that the action wants filled in, if it wants one."""
    if name == "extend":
        initial = {"last_day": (timezone.now() + EXTENDED_BY).date().isoformat()}
        return ExtendForm(data, initial=initial)
    if name == "rotate":
        return RotateForm(data)
    if name == "change_plan":
        return PlanForm(data)
    if name == "raise_budget":
        return RaiseForm(data, apikeys)
    if not KEY_ACTIONS[name].typed:
        return None
    if len(apikeys) == 1:
        last_four = apikeys[0].last_four
        label = f"Type the last four characters of the key, {last_four}"
        return ConfirmForm(data, wanted=last_four, label=label)
    count = str(len(apikeys))
    return ConfirmForm(data, wanted=count, label=f"Type how many keys these are, {count}")


def _amount(holding: Holding, typed: str) -> int:
    parse = parse_usd if holding.budget.unit == Unit.NANOUSD else parse_tokens
    spec = parse(f"{typed.strip()}/{format_window(holding.budget.window_s)}")
    return spec.limit or 0
