"""What a browser keeps between leaving for the provider and coming back: a signed cookie.

No row is stored for people who never return. The cookie is bound to one host where browsers can do
that, lives for ten minutes, and is taken away by the first return, whatever comes of it.
"""

import base64
import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

# Long enough for a second factor at the provider.
SECONDS_MAX = 600
SALT = "operators.oidc"


def begun(next_page: str) -> dict[str, str]:
    """Return a new flow: what must come back, and the proof that it was we who asked."""
    made = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
    return made | {"next": next_page}


def challenge(flow: dict[str, str]) -> str:
    """Return what the provider is told of the verifier (RFC 7636, S256)."""
    digest = hashlib.sha256(flow["verifier"].encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def keep(answer: HttpResponse, flow: dict[str, str]) -> None:
    """Give `flow` to the browser."""
    answer.set_cookie(
        _name(),
        signing.dumps(flow, salt=SALT),
        max_age=SECONDS_MAX,
        path="/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        # Lax: it comes along when the provider sends the browser back, and with no form.
        samesite="Lax",
    )


def kept(request: HttpRequest) -> dict[str, Any] | None:
    """Return the flow that this browser began, `None` when there is none or it is too old."""
    try:
        flow: dict[str, Any] = signing.loads(
            request.COOKIES.get(_name(), ""), salt=SALT, max_age=SECONDS_MAX
        )
    except signing.BadSignature:
        return None
    return flow


def forget(answer: HttpResponse) -> None:
    """Take the flow away from the browser: it is good for one return."""
    answer.set_cookie(
        _name(),
        "",
        max_age=0,
        path="/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _name() -> str:
    # No other host of the domain can set a cookie of this prefix; browsers want TLS for it.
    return "__Host-oidc" if settings.SESSION_COOKIE_SECURE else "oidc"
