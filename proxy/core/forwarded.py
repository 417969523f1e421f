"""Whose request it is when reverse proxies stand in front: their word, as far as it is trusted."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from keys.core.access import Address, Network

# An IPv6 address with an IPv4 one in it has 45 characters; what is longer is none. It may be a
# megabyte, and answers about addresses are remembered.
ADDRESS_LENGTH_MAX = 64


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Return the client's address, `None` when the connection has none.

    `forwarded_for` is what `X-Forwarded-For` says; it counts only behind a trusted proxy.
    """
    address = parse_address(peer)
    if not trusted or address is None or not inside(address, trusted):
        return address
    # From the right: every hop was written by the one after it, so stop at the first stranger.
    for text in reversed(forwarded_for.split(",")):
        hop = parse_address(text.strip()[:ADDRESS_LENGTH_MAX])
        if hop is None:
            return address
        if not inside(hop, trusted):
            return hop
        address = hop
    return address


# The same clients and proxies come again and again; parsing an address takes 2 µs.
@lru_cache(maxsize=10_000)
def parse_address(text: str) -> Address | None:
    """Return the address that `text` is, an IPv4 one out of an IPv6 one, else `None`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def inside(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether one of the networks holds the address."""
    return any(address in network for network in networks)
