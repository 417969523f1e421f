"""The mail server: one URL in, what Django's mail wants out. Pure; opens no connection."""

from typing import Any
from urllib.parse import unquote, urlsplit

SCHEMES = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
SECONDS_MAX = 5


def is_mail(url: str) -> bool:
    """Return whether `url` names a mail server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def settings(url: str) -> dict[str, Any]:
    """Return Django's `EMAIL_…` settings for a URL. Without one, or with a wrong one (check E070
    tells), mail goes nowhere.
    """
    if not is_mail(url):
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or SCHEMES[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": SECONDS_MAX,
    }
