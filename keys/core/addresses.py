"""How much of a client's address is stored. Decisions about access go by the whole one, in memory.

Truncated, an address names the network of some hundred machines (IPv4, /24) or of one site or
provider's customer (IPv6, /48).
"""

import enum
from ipaddress import IPv4Address, IPv6Address

from keys.core.access import Address

_IPV4_MASK = 0xFFFFFF00
_IPV6_MASK = 0xFFFFFFFFFFFF << 80


class Addresses(enum.StrEnum):
    """What is stored of addresses."""

    FULL = "full"
    TRUNCATED = "truncated"
    NONE = "none"


def kept(address: Address | None, how: Addresses) -> str:
    """Return what is stored of `address`, "" for nothing."""
    if address is None or how is Addresses.NONE:
        return ""
    if how is Addresses.FULL:
        return str(address)
    if isinstance(address, IPv4Address):
        return str(IPv4Address(int(address) & _IPV4_MASK))
    return str(IPv6Address(int(address) & _IPV6_MASK))
