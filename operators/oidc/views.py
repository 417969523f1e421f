"""The two addresses of single sign-on: off to the provider, and back with its word."""

import hmac
import logging
from typing import Any
from urllib.parse import urlencode

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from keys.admin.base import acting
from operators.oidc import flow as flows
from operators.oidc.accounts import AccountRefused, account_for
from operators.oidc.configuration import client, configured, redirect_uri
from operators.oidc.provider import CodeRefused, ProviderAway, provider
from operators.oidc.tokens import TokenRefused, verify
from operators.steps import VOUCHED
from operators.throttle import locked_out

logger = logging.getLogger(__name__)

AGAIN = "The sign-in was not finished in this browser, or took too long. Begin again."
UNTRUSTED = "The provider's answer cannot be trusted. Begin again; the gateway's log says more."
AWAY = "The provider does not answer. Try again in a minute; nothing is wrong with your account."


@never_cache
@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider."""
    _only_if_on()
    if not AxesProxyHandler.is_allowed(request):
        return locked_out(request)
    flow = flows.begun(_safe(request, request.GET.get("next", "")))
    try:
        endpoint = provider(client()).description()["authorization_endpoint"]
    except ProviderAway as error:
        return _away(request, error)
    asked = {
        "response_type": "code",
        "client_id": client().id,
        "redirect_uri": redirect_uri(),
        "scope": " ".join(["openid", *(s for s in settings.OIDC_SCOPES if s != "openid")]),
        "state": flow["state"],
        "nonce": flow["nonce"],
        "code_challenge": flows.challenge(flow),
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in endpoint else "?"
    answer = HttpResponseRedirect(f"{endpoint}{joint}{urlencode(asked)}")
    flows.keep(answer, flow)
    return answer


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Take the provider's word, and sign in whom it names."""
    _only_if_on()
    answer = _answer(request)
    flows.forget(answer)
    return answer


def _answer(request: HttpRequest) -> HttpResponse:
    if not AxesProxyHandler.is_allowed(request):
        return locked_out(request)
    flow = flows.kept(request)
    if flow is None:
        # Not counted: any site could send somebody here, and lock their address.
        return _page(request, AGAIN, 400)
    try:
        claims = _claims(request, flow)
        user = account_for(claims, acting_address=acting(request)["acting_address"])
    except ProviderAway as error:
        return _away(request, error)
    except (TokenRefused, CodeRefused) as error:
        logger.warning("single sign-on refused: %s: %s", type(error).__name__, error)
        return _refuse(request, UNTRUSTED, None)
    except AccountRefused as error:
        return _refuse(request, str(error), error.user)
    # The password backend, which only ever opens active accounts; login() makes a new session.
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session[VOUCHED] = _vouched(claims)
    home = reverse("admin:index" if user.is_staff else "usage_home")
    return HttpResponseRedirect(_safe(request, str(flow["next"])) or home)


def _claims(request: HttpRequest, flow: dict[str, Any]) -> dict[str, Any]:
    given = request.GET
    if not hmac.compare_digest(given.get("state", "").encode(), str(flow["state"]).encode()):
        raise TokenRefused("the state is of another sign-in")
    # RFC 9207: which provider answers, where it says so.
    if given.get("iss", client().issuer) != client().issuer:
        raise TokenRefused("the answer is another provider's")
    if "code" not in given:
        raise CodeRefused("the provider gave none")
    asked = provider(client())
    token = asked.exchange(given["code"], str(flow["verifier"]), redirect_uri())
    return verify(token, client(), str(flow["nonce"]), asked.keys)


def _vouched(claims: dict[str, Any]) -> bool:
    methods = claims.get("amr")
    said = [*(methods if isinstance(methods, list) else []), claims.get("acr")]
    return any(isinstance(word, str) and word in settings.OIDC_SECOND_FACTOR for word in said)


def _safe(request: HttpRequest, wanted: str) -> str:
    safe = url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return wanted if safe else ""


def _only_if_on() -> None:
    if not configured():
        raise Http404


def _refuse(request: HttpRequest, message: str, user: User | None) -> HttpResponse:
    credentials = {"username": user.get_username() if user else ""}
    user_login_failed.send(__name__, credentials=credentials, request=request)
    return _page(request, message, 403)


def _away(request: HttpRequest, error: ProviderAway) -> HttpResponse:
    logger.error("the identity provider cannot be used: %s", error)
    return _page(request, AWAY, 503)


def _page(request: HttpRequest, message: str, status: int) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "Not signed in", "message": message}
    page = TemplateResponse(request, "admin/operators/not_signed_in.html", context, status=status)
    return page.render()
