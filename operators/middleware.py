"""Sign-in at every request of Django: steps that are owed, and sessions that have grown old."""

import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from operators.steps import Step, owed

SIGNED_IN_AT = "signed_in_at"
SEEN_AT = "seen_at"
# Each noting writes the session; nobody needs to know to the second when someone was last here.
NOTED_EVERY_S = 60


class SignInSteps:
    """Let nobody pass who owes a step of the sign-in; end sessions that are too old or idle."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and not _is_fresh(request):
            logout(request)
        if request.user.is_authenticated:
            step = owed(request.user, request.session)
            if step is not None and request.path not in _open_to(step):
                if request.path.startswith((reverse("admin:index"), reverse("usage_home"))):
                    return HttpResponseRedirect(f"{reverse(step.value)}{_and_then(request)}")
                request.user = AnonymousUser()
        return self.get_response(request)


def _is_fresh(request: HttpRequest) -> bool:
    # Idle sessions expire by themselves: each noting prolongs them by SESSION_COOKIE_AGE.
    now = int(time.time())
    session = request.session
    if now - session.setdefault(SIGNED_IN_AT, now) > settings.SESSION_AGE_S_MAX:
        return False
    if now - session.get(SEEN_AT, 0) >= NOTED_EVERY_S:
        session[SEEN_AT] = now
    return True


def _open_to(step: Step) -> tuple[str, str]:
    return reverse(step.value), reverse("admin:logout")


def _and_then(request: HttpRequest) -> str:
    return "?" + urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
