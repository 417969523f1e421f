"""Who speaks to the management API: an operator token in `Authorization: Bearer`, nothing else.

Sessions and cookies are not looked at, so no page of another site can make a browser speak here.

REST framework's views import this module, so it imports none of them.
"""

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from keys.api.models import OperatorToken
from keys.api.tokens import may, operatortoken_find

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class BearerToken(BaseAuthentication):
    """Sets `request.auth` to the token, and `request.user` to whoever gave it."""

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, OperatorToken] | None:
        words = get_authorization_header(request).split()
        if not words:
            return None
        if len(words) != 2 or words[0].lower() != b"bearer":
            raise AuthenticationFailed("Send 'Authorization: Bearer cc-op-…'.")
        # One answer for all: an unknown token must not be told from one that has ended.
        token = operatortoken_find(words[1].decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("The operator token is unknown, expired or revoked.")
        return token.created_by or AnonymousUser(), token

    def authenticate_header(self, _request: Request) -> str:
        return 'Bearer realm="ClaudCode management API"'


class HasScope(BasePermission):
    """Lets a token through that has the scope of the view: its `area`, to read or to write, unless
    its `scopes` name another for the action.

    An `area` of `None` needs a token alone.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, OperatorToken):
            return False
        method = request.method or ""
        if method.lower() not in view.http_method_names or not hasattr(view, method.lower()):
            raise MethodNotAllowed(method)  # No scope would help.
        needed = scope(method, view)
        self.message = f"The token needs the scope {needed}, and its owner the right to it."
        return needed is None or may(request.auth, needed)


def scope(method: str, view: Any) -> str | None:
    """Return the scope that a request of `method` to `view` needs."""
    if view.area is None:
        return None
    if own := view.scopes.get(getattr(view, "action", None)):
        return str(own)
    return f"{view.area}:{'read' if method in SAFE_METHODS else 'write'}"
