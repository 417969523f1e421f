"""Sign-in to usage: with an account, or by pasting an API key, throttled like each other.

A wrong key counts as a failed sign-in of its address, so both share one lock (docs/operators.md).
A right key clears no count: else its holder could guess at passwords for ever in between.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_lockout_response
from django.conf import settings
from django.contrib.auth import login, logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from keys import audit
from usage.dashboard.viewer import OPENED_BY, Viewer, key_of, note, open_session, viewer_of

WRONG_KEY = (
    "This key opens nothing: it is mistyped, or it was revoked, disabled, replaced or is expired,"
    " or it may not be used from your address. Ask whoever gave it to you."
)

View = Callable[..., HttpResponseBase]


def for_viewers(view: View) -> View:
    """Let `view(request, viewer, …)` see only those who are somebody; others go to the sign-in.

    What is no page, told by `Accept`, is answered 401 instead.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        viewer = viewer_of_request(request)
        if viewer is None:
            return _to_sign_in(request)
        note(request.session)
        response = view(request, viewer, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    return guarded


def viewer_of_request(request: HttpRequest) -> Viewer | None:
    """Return who asks, `None` for nobody."""
    return viewer_of(request.user, request.session, request.META.get("REMOTE_ADDR"))


@never_cache
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for an account or a key, and open usage."""
    if request.method == "POST" and "api_key" in request.POST:
        return _by_key(request)
    form = AuthenticationForm(request, request.POST if request.method == "POST" else None)
    if form.is_valid():
        if OPENED_BY in request.session:
            request.session.flush()
        login(request, form.get_user())
        return _onwards(request)
    return _page(request, form)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session, whoever's it is."""
    logout(request)
    return HttpResponseRedirect(reverse("usage_sign_in"))


def _by_key(request: HttpRequest) -> HttpResponse:
    if not AxesProxyHandler.is_allowed(request):
        return _locked_out(request)
    secret = request.POST["api_key"]
    apikey = key_of(secret, request.META.get("REMOTE_ADDR"))
    if apikey is None:
        user_login_failed.send(sender=__name__, credentials={}, request=request)
        if getattr(request, "axes_locked_out", False):
            return _locked_out(request)
        return _page(request, AuthenticationForm(request), key_error=WRONG_KEY, status=403)
    if isinstance(request.user, User):
        logout(request)
    open_session(request.session, apikey, secret)
    audit.record_key("apikey.sign_in", apikey, request.META.get("REMOTE_ADDR") or None)
    return _onwards(request)


def _locked_out(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = get_lockout_response(request)
    return answer


def _page(
    request: HttpRequest, form: AuthenticationForm, *, key_error: str = "", status: int = 200
) -> HttpResponse:
    wanted = request.POST.get("next") or request.GET.get("next", "")
    context = {"section": "usage", "form": form, "key_error": key_error, "next": wanted}
    context["passwords"] = settings.PASSWORD_SIGN_IN
    context["single_sign_on"] = settings.OIDC_NAME if settings.OIDC_ISSUER else ""
    context["ended"] = OPENED_BY in request.session and not key_error
    return render(request, "usage/sign_in.html", context, status=status)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    address = reverse("usage_sign_in")
    if "text/html" not in request.headers.get("Accept", ""):
        return JsonResponse({"error": "Sign in again.", "sign_in": address}, status=401)
    return HttpResponseRedirect(f"{address}?{urlencode({'next': request.get_full_path()})}")


def _onwards(request: HttpRequest) -> HttpResponse:
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(wanted if safe else reverse("usage_home"))
