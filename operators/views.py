"""The pages of the sign-in beside Django's own: the code, the second factor, one's own password,
and the link that opens a session once.
"""

from collections.abc import Callable
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from keys.admin.base import acting
from operators import second_factor, services
from operators.forms import CodeForm, LinkForm, OwnPasswordForm
from operators.sign_in_link import opened_by
from operators.steps import CONFIRMED_BY
from operators.throttle import locked_out

Page = Callable[[HttpRequest], HttpResponse]

USED = "This link opens nothing: it was used, is too old, or is not whole. Make another."
WRONG = "This code is not right. Wait for the next one and try again."


def for_accounts(page: Page) -> Page:
    """Open `page` to whoever has an account, the console or not: their password is their own."""
    guarded: Page = never_cache(csrf_protect(login_required(page)))
    return guarded


@never_cache
@csrf_protect
@sensitive_post_parameters("token")
def sign_in_link(request: HttpRequest) -> HttpResponse:
    """Ask for the token of a link, and sign in whom it names. A second factor is asked after it."""
    if not AxesProxyHandler.is_allowed(request):
        return locked_out(request)
    form = LinkForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            user = opened_by(form.cleaned_data["token"])
            if user is not None:
                login(request, user, backend="django.contrib.auth.backends.ModelBackend")
                return HttpResponseRedirect(_home(user))
        user_login_failed.send(__name__, credentials={}, request=request)
        form.add_error(None, USED)
    return _page(request, "sign_in_link", "Sign in by link", {"form": form})


@sensitive_post_parameters("code")
def code(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor, and open the console."""
    user = _user(request)
    form = CodeForm(request.POST or None)
    factor = second_factor.factor_of(user)
    if factor is None or request.session.get(CONFIRMED_BY) == factor.pk:
        return _onwards(request)
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data["code"]
        if services.second_factor_verify(user=user, code=typed, acting_address=_address(request)):
            _confirm(request, factor.pk)
            return _onwards(request)
        form.add_error("code", _wrong(user, typed))
    next_page = request.POST.get("next") or request.GET.get("next", "")
    return _page(request, "code", "Confirm that it is you", {"form": form, "next": next_page})


@sensitive_post_parameters("code")
def own_second_factor(request: HttpRequest) -> HttpResponse:
    """Show one's second factor, or set it up."""
    user = _user(request)
    in_force = second_factor.factor_of(user)
    if in_force is None:
        return _set_up(request, user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        answer = _change(request, user, form)
        if answer is not None:
            return answer
    left = second_factor.codes_left(user)
    context = {"form": form, "left": left, "since": in_force.created_at}
    context["required"] = settings.REQUIRE_2FA
    return _page(request, "second_factor", "Two-factor sign-in", context)


@sensitive_post_parameters()
def password_change(request: HttpRequest) -> HttpResponse:
    """Replace one's own password."""
    user = _user(request)
    form = OwnPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        services.password_changed(user=user, acting_address=_address(request))
        messages.success(request, "Your password is changed. Your other sessions have ended.")
        return _onwards(request)
    context = {"form": form, "temporary": hasattr(user, "temporary_password")}
    context["next"] = request.POST.get("next") or request.GET.get("next", "")
    return _page(request, "password_change", "Change your password", context)


def _set_up(request: HttpRequest, user: User) -> HttpResponse:
    form = CodeForm(request.POST or None)
    form.fields["code"].help_text = "The six digits that the app shows now."
    if request.method == "POST" and form.is_valid():
        done = services.second_factor_confirm(
            user=user, code=form.cleaned_data["code"], acting_address=_address(request)
        )
        if done is not None:
            device, codes = done
            _confirm(request, device.pk)
            return _codes(request, codes)
        form.add_error("code", WRONG)
    device = second_factor.begun(user)
    # Drawn by segno out of our own text: there is nothing of a visitor's in it.
    picture = mark_safe(second_factor.picture(device))
    context = {"form": form, "picture": picture, "key": second_factor.typed_key(device)}
    context["required"] = settings.REQUIRE_2FA
    return _page(request, "set_up", "Set up two-factor sign-in", context)


def _change(request: HttpRequest, user: User, form: Form) -> HttpResponse | None:
    # Either takes a code: whoever finds an open browser must not be able to.
    typed, address = form.cleaned_data["code"], _address(request)
    if not services.second_factor_verify(user=user, code=typed, acting_address=address):
        form.add_error("code", _wrong(user, typed))
        return None
    if "renew" in request.POST:
        return _codes(request, services.recovery_codes_renew(user=user, acting_address=address))
    if "remove" in request.POST and not settings.REQUIRE_2FA:
        services.second_factor_remove(user=user, acting_user=user, acting_address=address)
        messages.success(request, "Two-factor sign-in is off: your password alone opens this.")
    return HttpResponseRedirect(reverse("operators:second_factor"))


def _codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return _page(request, "recovery_codes", "Your recovery codes", {"codes": codes})


def _confirm(request: HttpRequest, factor_id: int) -> None:
    # The session is worth more now than whoever may know its old name was given.
    request.session.cycle_key()
    request.session[CONFIRMED_BY] = factor_id


def _wrong(user: User, typed: str) -> str:
    wait_s = second_factor.wait_s(user, typed)
    return f"Too many wrong codes. Wait {wait_s} s and try again." if wait_s > 1 else WRONG


def _onwards(request: HttpRequest) -> HttpResponse:
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(wanted if safe else _home(_user(request)))


def _home(user: User) -> str:
    return reverse("admin:index" if user.is_staff else "usage_home")


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # for_accounts() lets nobody else in.
    return request.user


def _address(request: HttpRequest) -> str | None:
    address: str | None = acting(request)["acting_address"]
    return address


def _page(request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> TemplateResponse:
    shared = {**admin.site.each_context(request), "title": title}
    page = TemplateResponse(request, f"admin/operators/{name}.html", shared | context)
    page["Cache-Control"] = "no-store"
    return page
