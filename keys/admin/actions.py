"""What can be done to keys from their list and their page, each asked twice and audited."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action

from keys import services
from keys.admin.asking import AskingAdmin
from keys.admin.base import NOT_EMPTIED, acting, purge
from keys.admin.key_actions import KEY_ACTIONS
from keys.core.secret import Secret
from keys.inheritance import Holding, holdings
from keys.models import ApiKey
from keys.windows import NotEmptied


class ApiKeyActions(AskingAdmin):
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

        return self.confirmed_then(request, queryset, "extend", run)

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

        return self.confirmed_then(request, queryset, "reset", run)

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

        return self.confirmed_then(request, queryset, "rotate", run)

    @action(description="Change plan", permissions=["change"])
    def change_plan(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        @transaction.atomic
        def run(apikeys: list[ApiKey], form: Any) -> None:
            for apikey in apikeys:
                services.apikey_change_plan(apikey=apikey, **form.cleaned_data, **acting(request))
            follows = form.cleaned_data["plan"] or "no plan"
            self.message_user(request, f"Keys that follow {follows} now: {len(apikeys)}.")

        return self.confirmed_then(request, queryset, "change_plan", run)

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

        return self.confirmed_then(request, queryset, "raise_budget", run)

    @action(description="Purge response cache", permissions=["change"])
    def purge_cache(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        def run(apikeys: list[ApiKey], _form: Any) -> None:
            purge(self, request, apikeys)

        return self.confirmed_then(request, queryset, "purge_cache", run)

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

        return self.confirmed_then(request, queryset, name, run)


def _whose(holding: Holding) -> dict[str, Any]:
    # The budget of a plan has a window for each key.
    return {"apikey": holding.holder} if holding.inherited else {}
