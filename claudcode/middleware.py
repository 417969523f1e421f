"""What every request and answer of Django passes first and last. `/v1` passes none of it."""

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from claudcode.browser import PERMISSIONS_POLICY
from keys.core.access import Network, parse_network
from proxy.core.forwarded import client_address, inside, parse_address

# By what reverse proxies speak of the request they had. From anyone else it is a lie.
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
)

Answer = Callable[[HttpRequest], HttpResponse]


class TrustedProxies:
    """Make `REMOTE_ADDR` the client's own, and drop what strangers claim to have forwarded."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        meta, trusted = request.META, _networks(tuple(settings.TRUSTED_PROXIES))
        peer = meta.get("REMOTE_ADDR", "")
        address = client_address(peer, meta.get("HTTP_X_FORWARDED_FOR", ""), trusted)
        meta["REMOTE_ADDR"] = "" if address is None else str(address)
        near = parse_address(peer)
        if near is None or not inside(near, trusted):
            for name in FORWARDED:
                meta.pop(name, None)
        return self.get_response(request)


class PermissionsPolicy:
    """Tell browsers that no page of ours uses the machine's devices."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["Permissions-Policy"] = PERMISSIONS_POLICY
        return response


@lru_cache(maxsize=8)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(cidr) for cidr in cidrs)
