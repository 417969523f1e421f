"""Who is locked out after too many wrong passwords: an address, for a while, never an account.

Locking accounts would let anybody keep an operator out by name. Behind a reverse proxy that
CLAUDCODE_TRUSTED_PROXIES does not name, everybody has one address and shares one lock.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.crypto import salted_hmac

from keys.core.addresses import Addresses

# What one household or one machine is given: its holder has all of its addresses.
IPV6_PREFIX = 64
# Addresses that lead nowhere (RFC 4193); no client comes from there by chance.
PSEUDONYM_PREFIX = b"\xfd"


def network(request: HttpRequest) -> str | None:
    """Return what counts as one address: itself, or the network of an IPv6 one."""
    text = request.META.get("REMOTE_ADDR", "")
    if not text:
        return None  # A Unix socket has no address.
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = ip_network((address, IPV6_PREFIX), strict=False).network_address
    whole = settings.CLIENT_ADDRESSES == Addresses.FULL
    return str(address) if whole else _pseudonym(address)


def _pseudonym(address: IPv4Address | IPv6Address) -> str:
    """Return an address that stands for `address`, which nobody can tell from it without our secret
    key: each still has a lock of its own.
    """
    digest = salted_hmac("operators.throttle", str(address), algorithm="sha256").digest()
    return str(IPv6Address(PSEUDONYM_PREFIX + digest[: 16 - len(PSEUDONYM_PREFIX)]))


def no_name(_request: HttpRequest, _credentials: dict[str, str] | None) -> str:
    """Return the name that is kept of an attempt: none, for people type passwords there."""
    return ""


def locked_out(
    request: HttpRequest,
    _response: HttpResponse | None = None,
    _credentials: dict[str, str] | None = None,
) -> HttpResponse:
    """Say that it is locked, and for how long."""
    context = {
        **admin.site.each_context(request),
        "title": "Too many failed sign-ins",
        "minutes": -(-settings.SIGN_IN_LOCK_S // 60),
    }
    page = TemplateResponse(request, "admin/operators/locked_out.html", context, status=429)
    page["Retry-After"] = str(settings.SIGN_IN_LOCK_S)
    page["Cache-Control"] = "no-store"
    return page.render()
