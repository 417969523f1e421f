"""WebSockets of signed-in people: the origin is checked, and Django's sign-in is told to a socket.

Django's middleware does not see a WebSocket, so this says again what it says of a request: whose
address it is, which session, which user, and whether a step of the sign-in is owed. An application
behind it finds in its scope

    address     where it comes from, with what trusted proxies say
    signed_in   a function that reads the session and the user anew; it asks Postgres

A page of another site may open a socket to us, and the browser sends our cookies along: only the
`Origin` tells them apart, so one that is missing or another's is refused before anything is read.
"""

import time
from functools import partial
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.http.request import validate_host

from keys.core.access import parse_network
from operators.middleware import SIGNED_IN_AT
from operators.steps import owed
from proxy.core.forwarded import client_address, inside, parse_address

COOKIES_BYTES_MAX = 16_384
FORBIDDEN = 4403


class SignedInSocket:
    """Hand a WebSocket on to `application` when it comes from a page of this site."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = _headers(scope)
        if not from_this_site(headers):
            await refuse(scope, receive, send)
            return
        scope = dict(scope) | {
            "address": _address(scope, headers),
            "signed_in": partial(_signed_in, _session_key(headers)),
        }
        await self._application(scope, receive, send)


async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer a WebSocket that nobody here speaks with, or should."""
    await send({"type": "websocket.close", "code": FORBIDDEN})


def from_this_site(headers: dict[bytes, bytes]) -> bool:
    """Return whether the page that opens the socket was served by this site."""
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if not origin or not validate_host(_name(host), settings.ALLOWED_HOSTS):
        return False
    if origin in settings.CSRF_TRUSTED_ORIGINS or origin == settings.PUBLIC_URL.rstrip("/"):
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc == host


def _name(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _headers(scope: Any) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in scope["headers"]}


def _address(scope: Any, headers: dict[bytes, bytes]) -> str | None:
    peer = (scope.get("client") or ("",))[0] or ""
    trusted = tuple(parse_network(cidr) for cidr in settings.TRUSTED_PROXIES)
    forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
    near = parse_address(peer)
    believed = forwarded if near is not None and inside(near, trusted) else ""
    address = client_address(peer, believed, trusted)
    return None if address is None else str(address)


def _session_key(headers: dict[bytes, bytes]) -> str:
    text = headers.get(b"cookie", b"").decode("latin-1")[:COOKIES_BYTES_MAX]
    try:
        cookie = SimpleCookie(text).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _signed_in(key: str) -> tuple[SessionBase, User | AnonymousUser]:
    """Return the session and its user; whoever owes a step, or stays too long, is nobody yet."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key or None)
    request = HttpRequest()
    request.session = session
    user = get_user(request)
    if isinstance(user, User) and (_too_old(session) or owed(user, session) is not None):
        return session, AnonymousUser()
    return session, user


def _too_old(session: SessionBase) -> bool:
    began = session.get(SIGNED_IN_AT)
    return began is not None and time.time() - began > settings.SESSION_AGE_S_MAX
