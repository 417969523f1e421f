"""Which addresses a webhook may lead to."""

from ipaddress import ip_address

import pytest

from operators.alerts.core.reach import BadTarget, parse_target, public


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_called(address):
    assert public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "239.1.1.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",  # 6to4 around 127.0.0.1.
        "64:ff9b::a00:1",  # NAT64 around 10.0.0.1.
    ],
)
def test_others_may_not(address):
    assert not public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://user:pass@example.com/",
        "https://example.com/#x",
        "https://example.com:99999/",
        "https://example.com/ x",
        "https://exämple.com/",
        "example.com",
    ],
)
def test_what_is_no_webhook_is_refused(url):
    with pytest.raises(BadTarget):
        parse_target(url, local=False)


def test_scheme_host_and_port_are_told():
    assert parse_target("https://h.example/x?y", local=False) == ("https", "h.example", 443)
    assert parse_target("http://h.example", local=True) == ("http", "h.example", 80)
