"""One page that asks before anything is done to keys: it names them and says what will happen.

It sends the same form again with `confirmed`. What cannot be undone wants something typed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from keys.admin.base import ServiceAdmin
from keys.admin.key_actions import KEY_ACTIONS, KeyAction
from keys.admin.key_forms import action_form
from keys.live import NotRead, peek
from keys.models import ApiKey

# More keys than anyone reads through before a click; programs have the API.
APIKEYS_MAX = 100


class AskingAdmin(ServiceAdmin):
    """A page of keys whose actions are asked twice."""

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
        return self.ask(
            request, KEY_ACTIONS[name], [apikey], action_form(name, [apikey], None), apikey
        )

    def confirmed_then(
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
        form = action_form(name, apikeys, request.POST if confirmed else None)
        if not confirmed or (form is not None and not form.is_valid()):
            return self.ask(request, KEY_ACTIONS[name], apikeys, form, own)
        try:
            page = run(apikeys, form)
        except ValidationError as error:
            self.message_user(
                request, f"Nothing was done: {' '.join(error.messages)}", messages.ERROR
            )
            page = None
        return page or (HttpResponseRedirect(_page(own)) if own else None)

    def ask(
        self,
        request: HttpRequest,
        asked: KeyAction,
        apikeys: Sequence[ApiKey],
        form: forms.Form | None,
        own: ApiKey | None,
    ) -> TemplateResponse:
        """Return the page that asks; `own` is the key from whose own page this came."""
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


def _in_flight(apikeys: Sequence[ApiKey]) -> int | None:
    try:
        return sum(live.in_flight for live in peek(apikeys).values())
    except NotRead:
        return None


def _page(apikey: ApiKey) -> str:
    return reverse("admin:keys_apikey_change", args=[apikey.pk])
