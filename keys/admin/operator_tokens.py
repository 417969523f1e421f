"""The console's pages for operator tokens of the management API: issue, look at, revoke.

As with keys, a secret is in the answer to the very request that made the token and nowhere else,
and the same form sent again makes no second one. A token is never changed: issue another.
"""

import hashlib
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from keys.admin.base import ServiceAdmin, acting
from keys.api.models import OperatorToken
from keys.api.scopes import SCOPES
from keys.api.tokens import grantable, operatortoken_issue, operatortoken_revoke
from keys.changes import require_future

ISSUED = "operator_tokens_issued"
# More forms than anyone has open; each entry is 64 characters of a session row.
ISSUED_MAX = 20
LIST = "admin:keys_operatortoken_changelist"


class OperatorTokenForm(forms.ModelForm):
    """A new token, checked as the service checks it."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What it may do, as long as you may do that yourself.",
    )
    acting_user: Any = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "scopes" in cleaned:
            grantable(cleaned["scopes"], self.acting_user)
        require_future(cleaned.get("expires_at"))
        return cleaned


@admin.register(OperatorToken)
class OperatorTokenAdmin(ServiceAdmin):
    """Which programs may manage the gateway, what may they do, and are they in use?"""

    empty_says = (
        "With a token a program may use the management API."
        " Add one for each program, with what it may do."
    )
    form = OperatorTokenForm
    list_display = ("name", "masked", "state", "may", "created_by", "expires_at", "last_used_at")
    list_select_related = ("created_by",)
    search_fields = ("name", "prefix", "last_four", "created_by__username")
    actions = ("revoke",)

    def get_fields(
        self, _request: HttpRequest, obj: OperatorToken | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ("name", "scopes", "expires_at")
        shown = ("name", "masked", "state", "may", "created_by", "created_at", "expires_at")
        return (*shown, "last_used_at", "revoked_at")

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)
        form.acting_user = request.user
        return form

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return request.user.has_perm("keys.change_operatortoken")

    @display(description="token")
    def masked(self, token: OperatorToken) -> str:
        return token.masked

    @display(
        description="status",
        label={"live": "success", "expired": "warning", "revoked": "danger"},
    )
    def state(self, token: OperatorToken) -> str:
        return token.status

    @display(description="scopes")
    def may(self, token: OperatorToken) -> str:
        return ", ".join(token.scopes)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and _fingerprint(request) in request.session.get(ISSUED, []):
            told = "This token was issued already; its secret is not shown again."
            self.message_user(request, told, messages.INFO)
            return HttpResponseRedirect(reverse(LIST))
        return super().add_view(request, form_url, extra_context)

    def save_model(
        self,
        request: HttpRequest,
        obj: OperatorToken,
        form: forms.ModelForm,
        change: bool,  # noqa: ARG002
    ) -> None:
        fields = {name: form.cleaned_data[name] for name in ("name", "scopes", "expires_at")}
        token, secret = operatortoken_issue(**fields, **acting(request))
        obj.pk = token.pk
        obj.refresh_from_db()
        request.issued_secret = secret

    def response_add(
        self,
        request: HttpRequest,
        obj: OperatorToken,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        issued = [*request.session.get(ISSUED, []), _fingerprint(request)]
        request.session[ISSUED] = issued[-ISSUED_MAX:]
        context = {**self.admin_site.each_context(request), "opts": self.opts}
        context |= {"title": f"{obj.name} is issued", "token": obj}
        context |= {"secret_text": request.issued_secret.text}
        page = TemplateResponse(request, "admin/keys/operatortoken/issued.html", context)
        page["Cache-Control"] = "no-store"
        return page

    @action(description="Revoke for ever", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[OperatorToken]) -> None:
        done = [operatortoken_revoke(token=token, **acting(request)) for token in queryset]
        self.message_user(request, f"Tokens revoked: {sum(done)}.")


def _fingerprint(request: HttpRequest) -> str:
    # Each rendering of the form has its own CSRF token, so two wishes never look the same.
    return hashlib.sha256(request.POST.urlencode().encode()).hexdigest()
