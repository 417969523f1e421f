"""Which addresses a webhook may lead to: those of the public internet, and no other.

An address inside another one counts as what is inside: a v4 address mapped into v6, and what a
6to4, Teredo or NAT64 gateway would unpack.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urlsplit

_NAT64 = IPv6Network("64:ff9b::/96")
URL_CHARS_MAX = 500


class BadTarget(ValueError):
    """The address cannot be a webhook's."""


def public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether `address` is somebody's on the public internet."""
    if isinstance(address, IPv6Address) and (inner := _inside(address)) is not None:
        return public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def parse_target(url: str, *, local: bool) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises `BadTarget`.

    Plain http is for `local` targets: elsewhere anyone on the way could read it.
    """
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > URL_CHARS_MAX:
        raise BadTarget(f"Write at most {URL_CHARS_MAX} plain characters, without spaces.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget("This is no address.") from error
    if parts.scheme not in (("http", "https") if local else ("https",)) or not parts.hostname:
        raise BadTarget("Write an address such as https://hooks.example.com/claudcode.")
    if "@" in parts.netloc or parts.fragment:
        raise BadTarget("Leave out user, password and fragment.")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _inside(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
