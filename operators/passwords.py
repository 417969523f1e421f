"""Whether a name and a password open anything: not where single sign-on alone is to.

Knows no pages: whichever form asks, it asks Django's backends, and this one comes before the one
that looks at passwords.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest


class PasswordsMayBeOff:
    """Refuses every password, unheard, while CLAUDCODE_PASSWORD_SIGN_IN is off.

    It has nothing else of a backend: no session is ever opened in its name.
    """

    def authenticate(self, _request: HttpRequest | None, **_credentials: Any) -> None:
        """Let the next backend look, or end it here."""
        if not settings.PASSWORD_SIGN_IN:
            raise PermissionDenied
