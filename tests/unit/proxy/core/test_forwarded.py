"""Whose request it is: the connection's, or whom trusted proxies name."""

from ipaddress import ip_address, ip_network

import pytest

from proxy.core.forwarded import client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        pytest.param("192.0.2.1", "", "192.0.2.1", id="nobody between"),
        pytest.param("192.0.2.1", "198.51.100.9", "192.0.2.1", id="a stranger's word is nothing"),
        pytest.param("10.0.0.1", "198.51.100.9", "198.51.100.9", id="a trusted proxy's counts"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="a proxy that says nothing is the client"),
        pytest.param(
            "10.0.0.1", "203.0.113.5, 198.51.100.9", "198.51.100.9", id="what a client made up"
        ),
        pytest.param(
            "10.0.0.1", "198.51.100.9, 10.0.0.2", "198.51.100.9", id="two trusted proxies"
        ),
        pytest.param("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3", id="all of them trusted"),
        pytest.param("10.0.0.1", "198.51.100.9, what", "10.0.0.1", id="no address at all"),
        pytest.param("::ffff:10.0.0.1", "198.51.100.9", "198.51.100.9", id="IPv4 in IPv6"),
        pytest.param("fd00::1", "2001:db8::7", "2001:db8::7", id="IPv6"),
    ],
)
def test_the_client_is_the_nearest_who_is_not_trusted(peer, forwarded_for, expected):
    assert client_address(peer, forwarded_for, TRUSTED) == ip_address(expected)


def test_a_unix_socket_has_no_address():
    assert client_address("", "198.51.100.9", TRUSTED) is None


def test_with_no_trusted_proxy_the_header_is_not_read():
    assert client_address("10.0.0.1", "198.51.100.9", ()) == ip_address("10.0.0.1")
