"""Who is let in, by which header, and what everybody else is told."""

import datetime as dt

import httpx
import pytest
from django.utils import timezone

from keys.core.secret import compose
from keys.models import ApiKey
from keys.services import apikey_disable, apikey_enable, apikey_revoke
from tests.acceptance.developer import a_question
from tests.waiting import wait_until

UNKNOWN = compose("n" * 32).text
OFFICE = "10.20.0.0/16"
HERE = "127.0.0.0/8"


def ask(gateway, headers):
    url = f"{gateway.url}/v1/messages"
    return httpx.post(url, json=a_question(), headers=headers, verify=False)


def refused(answer):
    """Whether this is the 401 that makes Claude Code say so at once."""
    return (
        answer.status_code == 401
        and answer.json()["error"]["type"] == "authentication_error"
        and answer.headers["x-should-retry"] == "false"
    )


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("x-api-key", "KEY")], id="x-api-key"),
        pytest.param([("authorization", "Bearer KEY")], id="bearer"),
        pytest.param([("Authorization", "bearer  KEY")], id="bearer in small letters, blanks"),
        pytest.param(
            [("x-api-key", UNKNOWN), ("authorization", "Bearer KEY")], id="bearer beside a stranger"
        ),
        pytest.param(
            [("x-api-key", "KEY"), ("authorization", "Bearer sk-ant-x")], id="x-api-key beside one"
        ),
        pytest.param([("x-api-key", ""), ("authorization", "Bearer KEY")], id="beside nothing"),
    ],
)
def test_a_live_key_in_either_header_will_do(developer, gateway, headers):
    headers = [(name, value.replace("KEY", developer.secret)) for name, value in headers]
    assert ask(gateway, headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no key"),
        pytest.param({"x-api-key": ""}, id="an empty key"),
        pytest.param({"authorization": "Bearer"}, id="no token"),
        pytest.param({"authorization": "Basic c2stY2M6"}, id="another scheme"),
        pytest.param({"x-api-key": "sk-cc-short"}, id="malformed"),
        pytest.param({"x-api-key": "sk-ant-" + "x" * 37}, id="someone else's shape"),
        pytest.param({"x-api-key": UNKNOWN[:-1] + "!"}, id="wrong checksum"),
        pytest.param({"x-api-key": b"sk-cc-\xff\xfe"}, id="not ASCII"),
        pytest.param({"x-api-key": "x" * 10_000}, id="very long"),
        pytest.param({"x-api-key": UNKNOWN}, id="well formed and unknown"),
        pytest.param({"cookie": f"x-api-key={UNKNOWN}"}, id="a cookie"),
    ],
)
def test_nobody_else_is_let_in(gateway, headers):
    assert refused(ask(gateway, headers))


def test_a_mistyped_key_is_refused(developer, gateway):
    swapped = developer.secret[:-2] + developer.secret[-1] + developer.secret[-2]
    assert refused(ask(gateway, {"x-api-key": swapped}))


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude-haiku-4-5", "/v1/key-status"])
def test_every_path_wants_a_key(gateway, path):
    assert refused(httpx.get(gateway.url + path))


def test_counting_wants_a_key(gateway):
    url = f"{gateway.url}/v1/messages/count_tokens"
    assert refused(httpx.post(url, json=a_question()))


@pytest.mark.parametrize(
    ("move", "word"), [(apikey_disable, "disabled"), (apikey_revoke, "revoked")]
)
def test_a_key_taken_away_is_refused_within_a_second(developer, move, word):
    assert developer.ask().status_code == 200
    move(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: refused(developer.ask()), seconds=1)
    assert word in developer.ask().json()["error"]["message"]


def test_a_key_given_back_is_let_in(developer):
    apikey_disable(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: refused(developer.ask()), seconds=1)
    apikey_enable(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: developer.ask().status_code == 200, seconds=1)


def test_a_key_expires_to_the_moment(a_developer):
    expires_at = timezone.now() + dt.timedelta(seconds=1)
    developer = a_developer(expires_at=expires_at)
    assert developer.ask().status_code == 200
    wait_until(lambda: refused(developer.ask()), seconds=2)
    assert timezone.now() >= expires_at
    assert "expired" in developer.ask().json()["error"]["message"]


def test_a_key_made_after_its_first_use_is_let_in_soon(developer):
    apikey = developer.apikey
    ApiKey.objects.filter(pk=apikey.pk).delete()
    assert refused(developer.ask())
    apikey.save(force_insert=True)
    wait_until(lambda: developer.ask().status_code == 200, seconds=2)


def test_an_allowed_address_is_let_in(a_developer):
    assert a_developer(cidrs=[OFFICE, HERE]).ask().status_code == 200


@pytest.mark.parametrize("hop", ["10.20.0.7", "127.0.0.1, 10.20.0.7", "10.20.0.7, 127.0.0.1"])
def test_another_address_is_refused_whatever_it_claims(a_developer, hop):
    developer = a_developer(cidrs=[OFFICE])
    answer = developer.post(
        "/v1/messages",
        json=a_question(),
        headers={"x-forwarded-for": hop, "x-real-ip": "10.20.0.7", "forwarded": "for=10.20.0.7"},
    )
    assert refused(answer)
    assert "address" in answer.json()["error"]["message"]
