"""The console's pages for people: their accounts, roles, passwords and second factors.

What Django and the packages for sign-in bring of their own is taken away: it would show keys of
second factors, or write past the services.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.decorators import action, display

from keys.admin.base import ServiceAdmin, acting
from operators import services
from operators.forms import OperatorForm, SignInForm

for model in (User, Group, TOTPDevice, StaticDevice):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

admin.site.login_form = SignInForm
admin.site.login_template = "admin/operators/sign_in.html"

CHANGEABLE = ("email", "first_name", "last_name", "is_active")
SHOWN = ("second_factor", "last_login", "date_joined", "is_superuser")


@admin.register(User)
class OperatorAdmin(ServiceAdmin):
    """Who may do what here? An account is closed, never deleted: the audit trail names it."""

    form = OperatorForm
    list_display = ("username", "name", "roles", "second_factor", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    actions_detail = ("reset_password", "remove_second_factor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        factor = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        annotated = super().get_queryset(request).annotate(has_factor=Exists(factor))
        return annotated.prefetch_related("groups")

    def get_fields(self, _request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("username", "email", "first_name", "last_name", "groups")
        return ("username", "groups", *CHANGEABLE, *SHOWN)

    def get_readonly_fields(
        self, _request: HttpRequest, obj: User | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("username", *SHOWN)

    def has_delete_permission(self, _request: HttpRequest, _obj: User | None = None) -> bool:
        return False

    @display
    def name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @display
    def roles(self, user: User) -> str:
        names = sorted(group.name for group in user.groups.all())
        return ", ".join(["superuser", *names] if user.is_superuser else names) or "–"

    @display(description="two-factor", boolean=True)
    def second_factor(self, user: User) -> bool:
        return bool(user.has_factor)  # type: ignore[attr-defined]

    # --- Add and change -------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: User, form: OperatorForm, change: bool) -> None:
        said = form.cleaned_data
        if change:
            changes: Any = {name: said[name] for name in CHANGEABLE if name in form.changed_data}
            stored = User.objects.get(pk=obj.pk)
            services.operator_update(
                user=stored, changes=changes, roles=form.roles(), **acting(request)
            )
            return
        given = {name: said[name] for name in ("username", "email", "first_name", "last_name")}
        made, password = services.operator_add(**given, roles=form.roles(), **acting(request))
        obj.pk = made.pk
        obj.refresh_from_db()
        request.made_password = password

    def save_related(self, *_args: Any, **_kwargs: Any) -> None:
        """The services gave the roles already."""

    def response_add(
        self,
        request: HttpRequest,
        obj: User,
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        return self._password_page(request, obj, request.made_password)

    # --- Actions --------------------------------------------------------------------------------

    @action(description="Reset password", permissions=["change"], url_path="reset-password")
    def reset_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = self._account(request, object_id)
        if request.method != "POST":
            effect = (
                f"{account} gets a temporary password, which you hand over. The old one stops"
                " working at once and all their sessions end."
            )
            return self._confirm(request, account, "Reset password", effect)
        password = services.password_reset(user=account, **acting(request))
        return self._password_page(request, account, password)

    @action(
        description="Remove second factor",
        permissions=["change"],
        url_path="remove-second-factor",
    )
    def remove_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = self._account(request, object_id)
        if request.method != "POST":
            effect = (
                f"{account} signs in by password alone, until they set up a second factor again."
                " Be sure that it is they who asked for it."
            )
            return self._confirm(request, account, "Remove second factor", effect)
        done = services.second_factor_remove(user=account, **acting(request))
        told = "removed" if done else "not there: nothing was changed"
        self.message_user(request, f"The second factor of {account} is {told}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:auth_user_change", args=[account.pk]))

    def _account(self, request: HttpRequest, object_id: str) -> User:
        account = self.get_object(request, object_id)
        if account is None:
            raise Http404
        return account

    def _confirm(
        self, request: HttpRequest, account: User, verb: str, effect: str
    ) -> TemplateResponse:
        context = {"account": account, "effect": effect, "verb": verb}
        return self._page(request, "confirm", f"{verb}: {account}", context)

    def _password_page(self, request: HttpRequest, account: User, password: str) -> HttpResponse:
        context = {"account": account, "password": password}
        page = self._page(request, "password", f"A password for {account}", context)
        page["Cache-Control"] = "no-store"
        return page

    def _page(
        self, request: HttpRequest, name: str, title: str, context: dict[str, Any]
    ) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/operators/{name}.html", shared | context)
