"""Every form of VALKEY_URL, and what is none."""

import pytest

from keys.core.valkey_address import BadValkeyAddress, Form, ValkeyAddress, parse

CLUSTER, SENTINEL = Form.CLUSTER, Form.SENTINEL


def test_one_server_is_left_as_it_is():
    url = "rediss://me:p%40ss@valkey.internal/3?ssl_cert_reqs=none"
    nodes = (("valkey.internal", 6379),)
    assert parse(url) == ValkeyAddress(Form.SINGLE, url, nodes, "p@ss", encrypted=True)


def test_a_socket_has_no_host():
    url = "unix:///run/valkey.sock?db=2"
    assert parse(url) == ValkeyAddress(Form.SINGLE, url)


def test_a_cluster_is_some_of_its_nodes():
    nodes = (("h1", 7000), ("h2", 6379), ("::1", 7001))
    expected = ValkeyAddress(CLUSTER, "redis://me:s%2Fx@h1:7000/", nodes, "s/x")
    assert parse("redis+cluster://me:s%2Fx@h1:7000,h2,[::1]:7001/") == expected


def test_options_are_left_to_the_client():
    found = parse("rediss+cluster://h1:7000/?ssl_ca_certs=%2Fetc%2Fca.pem")
    assert (found.url, found.encrypted) == (
        "rediss://h1:7000/?ssl_ca_certs=%2Fetc%2Fca.pem",
        True,
    )


def test_sentinels_name_a_service():
    found = parse("redis+sentinel://:secret@s1,s2:26380/main?db=1&sentinel_password=other")
    assert found == ValkeyAddress(
        SENTINEL,
        "redis://:secret@s1:26379/1",
        (("s1", 26379), ("s2", 26380)),
        "secret",
        service="main",
        sentinel_password="other",
    )


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        pytest.param("http://h", "begins with none of", id="another protocol"),
        pytest.param("valkey", "begins with none of", id="no protocol"),
        pytest.param("unix://", "no socket", id="no socket"),
        pytest.param("redis://h1,h2/0", "Several hosts", id="several servers"),
        pytest.param("redis+cluster://h1/2", "one database", id="a database of a cluster"),
        pytest.param("redis+cluster://h1?db=2", "one database", id="the same as an option"),
        pytest.param("redis+cluster://h1,h1", "twice", id="a node twice"),
        pytest.param("redis+cluster://h1,,h2", "by nothing", id="a node without a name"),
        pytest.param("redis+cluster://h1:", "by nothing", id="a port without a number"),
        pytest.param("redis+cluster://h1:70000", "65535", id="a port too high"),
        pytest.param("redis+cluster://h1:x", "65535", id="a port that is none"),
        pytest.param("redis+sentinel://s1:26379", "one service", id="no service"),
        pytest.param("redis+sentinel://s1/a/b", "one service", id="a path for a service"),
        pytest.param("redis+sentinel://s1/a?db=x", "no number", id="a database that is none"),
    ],
)
def test_what_is_no_address_is_told_without_its_secret(url, complaint):
    secret = url.replace("://", "://me:hunter2@")
    with pytest.raises(BadValkeyAddress, match=complaint) as caught:
        parse(secret)
    assert "hunter2" not in str(caught.value)
