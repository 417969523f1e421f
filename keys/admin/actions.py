"""What can be done to keys from their list and their page, each asked twice and audited.

One page asks for all of them: it names the keys, says what will happen, and sends the same form
again with `confirmed`. What cannot be undone wants something typed.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from keys import services
from keys.admin.base import NOT_EMPTIED, ServiceAdmin, acting, purge
from keys.admin.key_forms import PlanForm, RaiseForm, RotateForm
from keys.core.access import KeyStatus
from keys.core.secret import Secret
from keys.inheritance import Holding, holdings
from keys.live import NotRead, peek
from keys.models import ApiKey
from keys.windows import NotEmptied

# More keys than anyone reads through before a click; programs have the API.
APIKEYS_MAX = 100
EXTENDED_BY = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One thing to do: how the page asks, and in which states a key's own page offers it.

    `typed` wants something typed, `alone` can be done to one key at a time.
    """

    name: str
    label: str
    effect: str
    offered: frozenset[KeyStatus]
    dangerous: bool = False
    typed: bool = False
    alone: bool = False


_LIVE = frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED})
KEY_ACTIONS = {
    each.name: each
    for each in (
        KeyAction(
            "disable",
            "Disable",
            "New requests get 401 within a second. Those in flight finish. Enable the key again"
            " whenever you like.",
            frozenset({KeyStatus.ACTIVE}),
            dangerous=True,
        ),
        KeyAction(
            "enable",
            "Enable",
            "The key works again within a second, under the limits it had.",
            frozenset({KeyStatus.DISABLED}),
        ),
        KeyAction(
            "extend",
            "Extend",
            "The key works until the end of that day, UTC. An expired key works again within a"
            " second.",
            frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED, KeyStatus.EXPIRED}),
        ),
        KeyAction(
            "rotate",
            "Rotate",
            "The key gets a new secret, shown once. The one before works until its time is over."
            " Limits and what was used stay. A rotation before this one ends at once.",
            _LIVE,
            alone=True,
        ),
        KeyAction(
            "change_plan",
            "Change plan",
            "Within a second the key follows that plan in everything, and later changes of it. Its"
            " own limits and budgets go, unless you keep them. What was used stays used.",
            _LIVE,
        ),
        KeyAction(
            "raise_budget",
            "Raise a budget",
            "Within a second that much can be used, until the end of that day, UTC. Then the budget"
            " is what it was, by itself. A raise before this one is replaced.",
            _LIVE,
            alone=True,
        ),
        KeyAction(
            "reset",
            "Empty budget windows",
            "What was used so far no longer counts against the key's budgets, its plan's too: all"
            " of each can be used again, from now on. The ledger keeps what was used.",
            _LIVE,
        ),
        KeyAction(
            "purge_cache",
            "Purge response cache",
            "Within a second the key is answered with nothing stored before now. Upstream answers"
            " again, at the full charge. A key of a team that shares its cache empties that.",
            _LIVE,
        ),
        KeyAction(
            "revoke",
            "Revoke for ever",
            "New requests get 401 within a second, for ever. Those in flight finish. This cannot be"
            " undone: disable the key if you may want it back.",
            frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED, KeyStatus.EXPIRED}),
            dangerous=True,
            typed=True,
        ),
    )
}


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


class ApiKeyActions(ServiceAdmin):
    """The actions of the page of keys. Each may run twice: the second time nothing is done."""

    actions = tuple(KEY_ACTIONS)

    def shown_before(self, request: HttpRequest) -> bool:
        """Return whether this very form was answered with a secret already."""
        raise NotImplementedError

    def remember_shown(self, request: HttpRequest) -> None:
        """Remember that this form was answered with a secret."""
        raise NotImplementedError

    def secret_page(
        self, request: HttpRequest, apikey: ApiKey, secret: Secret, title: str
    ) -> HttpResponse:
        """Return the one page that shows a new secret, and remember that the form was answered."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        ask = self.admin_site.admin_view(self.ask_view)
        return [
            path("<int:apikey_id>/ask/<str:name>/", ask, name="keys_apikey_ask"),
            *super().get_urls(),
        ]

    def ask_view(self, request: HttpRequest, apikey_id: int, name: str) -> HttpResponse:
        """Ask whether to do `name` to one key, from its own page."""
        apikey = self.get_object(request, str(apikey_id))
        if name not in self.get_actions(request):
            raise PermissionDenied
        if apikey is None or name not in KEY_ACTIONS:
            raise Http404
        return self._ask(request, KEY_ACTIONS[name], [apikey], _form(name, [apikey], None), apikey)

    @action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._move(request, queryset, "disable", services.apikey_disable, "disabled")

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._move(request, queryset, "enable", services.apikey_enable, "enabled")

    @action(description="Revoke for ever", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._move(request, queryset, "revoke", services.apikey_revoke, "revoked")

    @action(description="Extend", permissions=["change"])
    def extend(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        @transaction.atomic
        def run(apikeys: list[ApiKey], form: Any) -> None:
            changes = {"expires_at": form.expires_at}
            for apikey in apikeys:
                services.apikey_update(apikey=apikey, changes=changes, **acting(request))
            last_day = form.cleaned_data["last_day"]
            self.message_user(request, f"Keys extended to {last_day:%Y-%m-%d}: {len(apikeys)}.")

        return self._confirmed(request, queryset, "extend", run)

    @action(description="Empty all budget windows", permissions=["change"])
    def reset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        def run(apikeys: list[ApiKey], _form: Any) -> None:
            held = [each for some in holdings(apikeys).values() for each in some]
            try:
                for each in held:
                    services.budget_reset(budget=each.budget, **_whose(each), **acting(request))
            except NotEmptied:
                self.message_user(request, NOT_EMPTIED, messages.ERROR)
            else:
                self.message_user(request, f"Budget windows emptied: {len(held)}.")

        return self._confirmed(request, queryset, "reset", run)

    @action(description="Rotate", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        def run(apikeys: list[ApiKey], form: Any) -> HttpResponse | None:
            if self.shown_before(request):
                # By a reload: once more would end the secret that is still in use.
                self.message_user(request, "This key was rotated already.", messages.INFO)
                return None
            stored, secret = services.apikey_rotate(
                apikey=apikeys[0], grace=form.grace, **acting(request)
            )
            return self.secret_page(request, stored, secret, f"{stored.name} is rotated")

        return self._confirmed(request, queryset, "rotate", run)

    @action(description="Change plan", permissions=["change"])
    def change_plan(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        @transaction.atomic
        def run(apikeys: list[ApiKey], form: Any) -> None:
            for apikey in apikeys:
                services.apikey_change_plan(apikey=apikey, **form.cleaned_data, **acting(request))
            follows = form.cleaned_data["plan"] or "no plan"
            self.message_user(request, f"Keys that follow {follows} now: {len(apikeys)}.")

        return self._confirmed(request, queryset, "change_plan", run)

    @action(description="Raise a budget", permissions=["change"])
    def raise_budget(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        def run(_apikeys: list[ApiKey], form: Any) -> None:
            services.budget_raise(
                budget=form.holding.budget,
                limit=form.cleaned_data["limit"],
                until=form.until,
                **_whose(form.holding),
                **acting(request),
            )
            last_day = form.cleaned_data["last_day"]
            self.message_user(request, f"Raised to the end of {last_day:%Y-%m-%d}.")

        return self._confirmed(request, queryset, "raise_budget", run)

    @action(description="Purge response cache", permissions=["change"])
    def purge_cache(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        def run(apikeys: list[ApiKey], _form: Any) -> None:
            purge(self, request, apikeys)

        return self._confirmed(request, queryset, "purge_cache", run)

    def _move(
        self,
        request: HttpRequest,
        queryset: QuerySet[ApiKey],
        name: str,
        service: Callable[..., bool],
        verb: str,
    ) -> HttpResponse | None:
        def run(apikeys: list[ApiKey], _form: Any) -> None:
            done = sum(service(apikey=apikey, **acting(request)) for apikey in apikeys)
            rest = f" Left as they were: {len(apikeys) - done}." if done < len(apikeys) else ""
            self.message_user(request, f"Keys {verb}: {done}.{rest}")

        return self._confirmed(request, queryset, name, run)

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[ApiKey],
        name: str,
        run: Callable[[list[ApiKey], Any], HttpResponse | None],
    ) -> HttpResponse | None:
        """Ask first; run when the answer comes back with what it needs."""
        apikeys = list(queryset.select_related("team", "owner")[: APIKEYS_MAX + 1])
        if len(apikeys) > APIKEYS_MAX:
            self.message_user(
                request,
                f"Nothing was done: select at most {APIKEYS_MAX} keys at once.",
                messages.ERROR,
            )
            return None
        if KEY_ACTIONS[name].alone and len(apikeys) != 1:
            self.message_user(request, "Nothing was done: select one key.", messages.ERROR)
            return None
        own = apikeys[0] if request.POST.get("back") and len(apikeys) == 1 else None
        confirmed = request.POST.get("confirmed") == "yes"
        form = _form(name, apikeys, request.POST if confirmed else None)
        if not confirmed or (form is not None and not form.is_valid()):
            return self._ask(request, KEY_ACTIONS[name], apikeys, form, own)
        try:
            page = run(apikeys, form)
        except ValidationError as error:
            self.message_user(
                request, f"Nothing was done: {' '.join(error.messages)}", messages.ERROR
            )
            page = None
        return page or (HttpResponseRedirect(_page(own)) if own else None)

    def _ask(
        self,
        request: HttpRequest,
        asked: KeyAction,
        apikeys: Sequence[ApiKey],
        form: forms.Form | None,
        own: ApiKey | None,
    ) -> TemplateResponse:
        what = apikeys[0].name if len(apikeys) == 1 else f"{len(apikeys)} keys"
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{asked.label}: {what}?",
            "asked": asked,
            "apikeys": apikeys,
            "in_flight": _in_flight(apikeys),
            "form": form,
            "own": own,
            "keep": _page(own) if own else reverse("admin:keys_apikey_changelist"),
        }
        return TemplateResponse(request, "admin/keys/apikey/ask.html", context)


def _form(name: str, apikeys: Sequence[ApiKey], data: Any) -> forms.Form | None:
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


def _in_flight(apikeys: Sequence[ApiKey]) -> int | None:
    try:
        return sum(live.in_flight for live in peek(apikeys).values())
    except NotRead:
        return None


def _whose(holding: Holding) -> dict[str, Any]:
    # The budget of a plan has a window for each key.
    return {"apikey": holding.holder} if holding.inherited else {}


def _page(apikey: ApiKey) -> str:
    return reverse("admin:keys_apikey_change", args=[apikey.pk])
