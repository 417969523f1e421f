"""The one place where alerts leave this machine by HTTP, and where it is decided to whom.

A name is resolved once, every address it has must be one that may be called, and the connection
goes to the address that was looked at: a name that leads elsewhere a moment later is of no use.
No redirect is followed, no proxy is asked, and of the answer only the status is read.
"""

import asyncio
import contextlib
import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit, urlunsplit

import httpx
from django.conf import settings

from operators.alerts.core.reach import BadTarget, parse_target, public
from operators.alerts.core.webhook import SIGNATURE_HEADER, signature

SECONDS_MAX = 5.0
AGENT = "ClaudCode-Alerts/1"


class NotSent(Exception):
    """The receiver did not take it; the message says why, and holds no path and no secret."""


def check_target(url: str) -> None:
    """Raise `BadTarget` if `url` may not be called. Resolves its name."""
    _scheme, host, port = parse_target(url, local=settings.ALERT_LOCAL_TARGETS)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadTarget(f"The name {host} leads nowhere.") from error
    _allowed(host, found)


async def post(url: str, secret: str, body: bytes) -> None:
    """Send `body` signed. Raises `NotSent` unless the answer is 2xx within `SECONDS_MAX`."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            status = await _post(url, secret, body)
    except TimeoutError as error:
        raise NotSent(f"no answer within {SECONDS_MAX:.0f} seconds") from error
    except BadTarget as error:
        raise NotSent(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotSent(f"the connection failed: {type(error).__name__}") from error
    if not 200 <= status < 300:
        raise NotSent(f"the answer was {status}")


async def _post(url: str, secret: str, body: bytes) -> int:
    _scheme, host, port = parse_target(url, local=settings.ALERT_LOCAL_TARGETS)
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotSent(f"the name {host} leads nowhere") from error
    address = _allowed(host, found)
    parts = urlsplit(url)
    place = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    there = urlunsplit((parts.scheme, f"{place}:{port}", parts.path or "/", parts.query, ""))
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        SIGNATURE_HEADER: signature(secret, int(time.time()), body),
    }
    # The certificate is checked for the name, though the connection goes to the address.
    extensions = {"sni_hostname": host}
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=SECONDS_MAX) as client,
        client.stream(
            "POST", there, content=body, headers=headers, extensions=extensions
        ) as answer,
    ):
        return answer.status_code


def _allowed(host: str, found: list[tuple]) -> IPv4Address | IPv6Address:
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise BadTarget(f"The name {host} leads nowhere.")
    if not settings.ALERT_LOCAL_TARGETS and not all(public(a) and not _own(a) for a in addresses):
        raise BadTarget(
            f"{host} leads into a private network or to this machine. If that is meant, set"
            " CLAUDCODE_ALERT_LOCAL_TARGETS."
        )
    return addresses[0]


def _own(address: IPv4Address | IPv6Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # Only addresses of this machine can be bound; no packet leaves.
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False
