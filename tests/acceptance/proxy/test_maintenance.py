"""While maintenance is on, everything under `/v1` but probes answers 503, and nobody is cut off."""

import pytest
from django.core.management import call_command

from keys.services import apikey_update, maintenance_set
from tests.acceptance.developer import a_question, events
from tests.waiting import wait_until

QUESTION = a_question()
ASKED = [
    pytest.param("POST", "/v1/messages", {"json": QUESTION}, id="messages"),
    pytest.param("POST", "/v1/messages/count_tokens", {"json": QUESTION}, id="count_tokens"),
    pytest.param("GET", "/v1/models", {}, id="models"),
    pytest.param("GET", "/v1/models/claude-haiku-4-5", {}, id="a model"),
    pytest.param("GET", "/v1/key-status", {}, id="key-status"),
    pytest.param("GET", "/v1/usage", {}, id="usage"),
]


@pytest.fixture
def maintenance(installation, developer):
    """Switches maintenance on or off, and returns when the gateway knows, within a second."""

    def switch(state, *words):
        call_command("maintenance", state, *words)
        status = 503 if state == "on" else 200
        wait_until(lambda: developer.get("/v1/models").status_code == status, seconds=1)

    yield switch
    maintenance_set(enabled=False, message="Back soon.", retry_after_s=300, acting_user=None)
    wait_until(lambda: developer.get("/v1/models").status_code == 200)


@pytest.mark.parametrize(("method", "path", "options"), ASKED)
def test_everything_is_turned_away_with_the_operators_words(
    developer, maintenance, method, path, options
):
    maintenance("on", "--message", "Back at noon.", "--retry-after", "90")
    answer = developer.send(method, path, **options)
    assert answer.status_code == 503
    assert answer.json()["error"] == {"type": "api_error", "message": "Back at noon."}
    assert answer.headers["retry-after"] == "90"
    maintenance("off")
    assert developer.send(method, path, **options).status_code == 200


@pytest.mark.parametrize(("method", "path", "options"), ASKED)
def test_a_key_that_operators_test_with_is_let_through(
    a_developer, maintenance, method, path, options
):
    tester = a_developer(during_maintenance=True)
    maintenance("on")
    assert tester.send(method, path, **options).status_code == 200


def test_a_key_can_be_let_through_while_it_lasts(developer, a_developer, maintenance):
    tester = a_developer()
    maintenance("on")
    assert tester.ask().status_code == 503
    changes = {"during_maintenance": True}
    apikey_update(apikey=tester.apikey, changes=changes, acting_user=None)
    wait_until(lambda: tester.ask().status_code == 200, seconds=1)
    assert developer.ask().status_code == 503


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="without a key"),
        pytest.param({"x-api-key": "sk-cc-nonsense"}, id="with nonsense"),
    ],
)
def test_strangers_are_told_to_come_back(http, gateway, maintenance, headers):
    maintenance("on")
    answer = http.get(f"{gateway.url}/v1/models", headers=headers)
    assert answer.status_code == 503


def test_a_dead_key_is_told_to_come_back(a_developer, maintenance):
    dead = a_developer()
    dead.apikey.disabled_at = dead.apikey.created_at
    dead.apikey.save()
    maintenance("on")
    assert dead.get("/v1/key-status").status_code == 503


@pytest.mark.parametrize("path", ["/api/hello", "/v1/api/hello"])
def test_probes_are_answered(http, gateway, maintenance, path):
    maintenance("on")
    assert http.head(gateway.url + path).status_code == 200


def test_exchanges_in_flight_finish(developer, maintenance):
    with developer.listen("[[sim:tokens=150]] [[sim:rate=100]]") as answer:
        maintenance("on")
        assert developer.ask().status_code == 503
        answer.read()
    assert answer.status_code == 200
    assert events(answer)[-1] == "message_stop"
