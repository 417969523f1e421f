"""What of an address may stand in a script."""

import pytest

from portal.setup.address import UnsafeAddress, plain_root

ODD = [
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "a b",
    "a\nb",
    "a;id",
    "a|id",
    "a&id",
    "a\\b",
    "a$b",
    "a#b",
    "a@b",
    "a%0ab",
    "a<b",
    "a{b}",
    "ａ.example",
    "",
    ".",
    "-o",
    "[::1]]",
]


@pytest.mark.parametrize("host", ODD)
def test_an_odd_host_is_refused(host):
    with pytest.raises(UnsafeAddress):
        plain_root(f"https://{host}")


@pytest.mark.parametrize("tail", [":80a", ":", "/a b", "/$x", "/../x", "?a=b", "#x", "\n", "/'"])
def test_an_odd_rest_is_refused(tail):
    with pytest.raises(UnsafeAddress):
        plain_root(f"https://claude.example.com{tail}")


@pytest.mark.parametrize("scheme", ["ftp", "javascript", "file", "HTTPS", ""])
def test_another_scheme_is_refused(scheme):
    with pytest.raises(UnsafeAddress):
        plain_root(f"{scheme}://claude.example.com")


def test_a_very_long_one_is_refused():
    with pytest.raises(UnsafeAddress):
        plain_root(f"https://{'a' * 300}.example")


@pytest.mark.parametrize(
    ("address", "root"),
    [
        pytest.param("https://claude.example.com", "https://claude.example.com", id="as it is"),
        pytest.param("https://claude.example.com/", "https://claude.example.com", id="slash"),
        pytest.param("https://claude.example.com/v1/", "https://claude.example.com", id="v1"),
        pytest.param("http://127.0.0.1:8000", "http://127.0.0.1:8000", id="port"),
        pytest.param("http://[::1]:8000", "http://[::1]:8000", id="IPv6"),
        pytest.param("https://example.com/claude", "https://example.com/claude", id="folder"),
    ],
)
def test_the_plain_root_is_what_sdks_expect(address, root):
    assert plain_root(address) == root
