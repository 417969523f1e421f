"""Sign-ins in the audit trail: who came, who left, who was refused and from where.

What was typed is never recorded, not even the name of an account that does not exist: people type
their password there.
"""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from keys import audit
from proxy.core.forwarded import parse_address


def listen() -> None:
    """Be told of every sign-in, sign-out and refusal."""
    user_logged_in.connect(_signed_in, dispatch_uid="operators.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="operators.signed_out")
    user_login_failed.connect(_refused, dispatch_uid="operators.refused")
    user_locked_out.connect(_locked_out, dispatch_uid="operators.locked_out")


def _signed_in(request: HttpRequest, user: User, **_signal: Any) -> None:
    # Without a method nobody asked for it: a program opened the session for itself.
    if request.method is not None:
        audit.record("sign_in", user, user, _address(request), {})


def _signed_out(request: HttpRequest, user: User | None, **_signal: Any) -> None:
    if user is not None:
        audit.record("sign_out", user, user, _address(request), {})


def _refused(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_signal: Any
) -> None:
    # Who is locked out is refused unheard; the row of the lock stands for those.
    if not getattr(request, "axes_locked_out", False):
        name = str(credentials.get(User.USERNAME_FIELD, ""))
        known = get_user_model().objects.filter(username=name).first() if "\0" not in name else None
        audit.record_stranger("sign_in.refuse", known, _address(request), {})


def _locked_out(request: HttpRequest, **_signal: Any) -> None:
    # axes counts the failure that locks; whoever comes while it is locked is not counted.
    if getattr(request, "axes_failures_since_start", None) is not None:
        audit.record_stranger("sign_in.lock", None, _address(request), {})


def _address(request: HttpRequest | None) -> str | None:
    address = parse_address(request.META.get("REMOTE_ADDR", "")) if request else None
    return None if address is None else str(address)
