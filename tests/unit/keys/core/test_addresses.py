"""What is stored of clients' addresses."""

from ipaddress import ip_address

import pytest

from keys.core.addresses import Addresses, kept


@pytest.mark.parametrize(
    ("address", "how", "expected"),
    [
        ("203.0.113.77", Addresses.FULL, "203.0.113.77"),
        ("203.0.113.77", Addresses.TRUNCATED, "203.0.113.0"),
        ("203.0.113.77", Addresses.NONE, ""),
        ("2001:db8:1:2:3:4:5:6", Addresses.FULL, "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", Addresses.TRUNCATED, "2001:db8:1::"),
        ("2001:db8:1:2:3:4:5:6", Addresses.NONE, ""),
    ],
)
def test_what_is_kept(address, how, expected):
    assert kept(ip_address(address), how) == expected


def test_none_is_nothing():
    assert kept(None, Addresses.FULL) == ""
