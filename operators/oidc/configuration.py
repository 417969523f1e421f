"""What is configured of single sign-on, and what is wrong with it. Asks nobody."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from operators.roles import Role

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Client:
    """Ourselves as the provider knows us. The secret is in no text that is made of this."""

    issuer: str
    id: str
    secret: str = field(repr=False)


def configured() -> bool:
    """Return whether single sign-on is on."""
    return bool(settings.OIDC_ISSUER)


def client() -> Client:
    """Return the client that the settings describe."""
    return Client(settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)


def redirect_uri() -> str:
    """Return where the provider sends people back to; it must be registered there."""
    public: str = settings.PUBLIC_URL
    return public.rstrip("/") + reverse("operators:oidc_callback")


def role_map() -> dict[str, str]:
    """Return which role each group of the provider's gives; empty: roles are given here."""
    pairs = (entry.rpartition("=") for entry in settings.OIDC_ROLES)
    return {group.strip(): role.strip() for group, _, role in pairs}


def safe_address(url: str) -> bool:
    """Return whether secrets may be sent to `url`: over TLS, or to this machine."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return parts.hostname in LOOPBACK
    return parts.scheme == "https" and bool(parts.hostname)


def faults() -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the settings, and what to do about it."""
    needed = ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
    if not configured():
        if any(getattr(settings, name) for name in needed):
            yield "Single sign-on has a client, but no provider.", "Set CLAUDCODE_OIDC_ISSUER."
        if not settings.PASSWORD_SIGN_IN:
            yield (
                "CLAUDCODE_PASSWORD_SIGN_IN is off, and there is no other way to sign in.",
                "Set CLAUDCODE_OIDC_ISSUER and what belongs to it, or take passwords back.",
            )
        return
    for name in (*needed, "PUBLIC_URL"):
        if not getattr(settings, name):
            yield f"Single sign-on needs CLAUDCODE_{name}.", "Set it, or unset CLAUDCODE_OIDC_…"
    if not safe_address(settings.OIDC_ISSUER):
        yield (
            "CLAUDCODE_OIDC_ISSUER is not an https URL.",
            "Give the provider's issuer, letter for letter: https://login.example.com/realm.",
        )
    roles = frozenset(Role)
    if any(not group or role not in roles for group, role in role_map().items()):
        yield (
            "CLAUDCODE_OIDC_ROLES holds something that is not GROUP=ROLE.",
            f"By commas; a role is one of {', '.join(sorted(roles))}.",
        )
    if settings.OIDC_CREATE and not settings.OIDC_ROLES:
        yield (
            "CLAUDCODE_OIDC_CREATE makes accounts, but no group gives a role.",
            "Set CLAUDCODE_OIDC_ROLES, or add people by hand.",
        )
