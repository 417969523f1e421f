"""How the set-up scripts are served: whose address is in them, and who may keep them."""

import pytest
from django.test import Client

PATHS = ["/setup.sh", "/setup.ps1"]
PROXY = {"REMOTE_ADDR": "10.0.0.1"}


@pytest.fixture(params=PATHS)
def path(request) -> str:
    return request.param


@pytest.fixture(autouse=True)
def own_hosts(settings):
    settings.ALLOWED_HOSTS = ["claude.example.com", "testserver"]
    settings.PUBLIC_URL = ""


def test_the_script_names_the_host_it_was_asked_under(path):
    answer = Client().get(path, headers={"host": "claude.example.com"})
    assert "base_url" in answer.text
    assert "'http://claude.example.com'" in answer.text


def test_it_is_plain_text_that_nobody_keeps(path):
    answer = Client().get(path)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "Host" in answer.headers["vary"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not answer.cookies


def test_the_public_address_goes_first(path, settings):
    settings.PUBLIC_URL = "https://api.example.com/v1"
    assert "'https://api.example.com'" in Client().get(path).text


def test_another_host_is_refused(path):
    answer = Client().get(path, headers={"host": "evil.example.com"})
    assert answer.status_code == 400
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    "host",
    ["x'$(id)'", "a;id", "a`id`", "a b", "a$HOME", "a'b", 'a"b', "a\\b", "x\nHost: y", "[::1'", ""],
)
@pytest.mark.parametrize("allowed", ["claude.example.com", "*"])
def test_an_odd_host_is_refused_whatever_is_allowed(path, settings, host, allowed):
    settings.ALLOWED_HOSTS = [allowed]
    answer = Client().get(path, headers={"host": host})
    assert answer.status_code == 400
    assert "base_url" not in answer.text


def test_an_odd_public_address_is_in_no_script(path, settings):
    settings.PUBLIC_URL = "https://x/'; id; '"
    answer = Client().get(path)
    assert answer.status_code == 400
    assert "id;" not in answer.text


def test_a_stranger_speaks_for_no_other_host_or_scheme(path):
    claims = {
        "x-forwarded-host": "evil.example.com",
        "x-forwarded-proto": "https",
        "forwarded": "host=evil.example.com;proto=https",
    }
    answer = Client().get(path, headers=claims)
    assert "'http://testserver'" in answer.text
    assert "evil" not in answer.text


def test_a_named_proxy_speaks_for_the_scheme(path, settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    claims = {"host": "claude.example.com", "x-forwarded-proto": "https"}
    answer = Client(**PROXY).get(path, headers=claims)
    assert "'https://claude.example.com'" in answer.text


def test_a_query_is_not_in_the_script(path):
    assert "evil" not in Client().get(f"{path}?host=evil&x='evil").text


def test_scripts_are_only_read(path):
    assert Client().post(path).status_code == 405
    assert Client().head(path).status_code == 200
