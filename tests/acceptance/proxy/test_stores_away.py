"""What the gateway does while Valkey or Postgres is away, and when they are back."""

import contextlib
import json

import pytest

from keys import invalidation
from keys.core.secret import compose
from keys.services import apikey_revoke
from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.developer import a_question
from tests.acceptance.engine import Engine
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import (
    Installation,
    disconnect,
    ledger_entry,
    only_entry,
)
from tests.acceptance.outage import unavailable
from tests.factories import a_spec
from tests.waiting import wait_until
from usage.models import Price

COSTS_A_LIMIT = [
    pytest.param("POST", "/v1/messages", id="messages"),
    pytest.param("POST", "/v1/messages/count_tokens", id="count_tokens"),
    pytest.param("GET", "/v1/key-status", id="key-status"),
    pytest.param("GET", "/v1/usage", id="usage"),
]


@pytest.fixture(scope="module")
def postgres():
    with Engine("postgres") as engine:
        yield engine


@pytest.fixture(scope="module")
def valkey():
    with Engine("valkey") as engine:
        yield engine


@pytest.fixture(scope="module")
def installation(postgres, valkey, django_db_blocker):
    installation = Installation(postgres.url, valkey.url)
    with django_db_blocker.unblock(), installation.connected():
        installation.migrate()
        yield installation


@pytest.fixture(scope="module")
def gateway(installation, simulator):
    with GatewayProcess(installation, simulator.url, **IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
def known(developer):
    """A developer whose key the gateway has seen."""
    wait_until(lambda: developer.ask().status_code == 200, seconds=3)
    return developer


@contextlib.contextmanager
def away(postgres):
    """Postgres away, and this process' own connections with it."""
    with postgres.away():
        yield
    disconnect()


@pytest.mark.parametrize(("method", "path"), COSTS_A_LIMIT)
def test_503_within_two_seconds_while_valkey_is_stopped(known, valkey, method, path):
    with valkey.away():
        assert unavailable(known.send(method, path, json=a_question()))


@pytest.mark.parametrize(("method", "path"), COSTS_A_LIMIT)
def test_503_within_two_seconds_while_valkey_is_frozen(known, valkey, method, path):
    with valkey.frozen():
        assert unavailable(known.send(method, path, json=a_question()))


def test_use_cannot_be_read_without_postgres(known, postgres):
    with away(postgres):
        answer = known.get("/v1/usage")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    wait_until(lambda: known.get("/v1/usage").status_code == 200, seconds=10)


def test_models_are_listed_without_valkey(known, valkey):
    with valkey.away():
        assert known.get("/v1/models").status_code == 200


def test_all_goes_on_when_valkey_is_back(known, valkey):
    used = wait_until(lambda: known.status()["budget"]["used_tokens"])
    with valkey.away():
        assert unavailable(known.ask())
    wait_until(lambda: known.ask().status_code == 200, seconds=3)
    assert known.status()["budget"]["used_tokens"] > used


def test_a_stream_outlives_valkey_and_is_settled_when_it_is_back(known, valkey):
    with known.listen("[[sim:tokens=150]] [[sim:rate=100]]") as answer:
        lines = answer.iter_lines()
        next(lines)
        with valkey.away():
            assert list(lines)[-2] == 'data: {"type":"message_stop"}'
    entry = ledger_entry(answer.headers["request-id"])
    assert (entry.status, entry.output_tokens, entry.estimated) == ("completed", 150, False)
    wait_until(lambda: known.ask().status_code == 200, seconds=3)
    wait_until(lambda: known.status()["rate_limit"]["in_flight"] == 0)


def test_a_key_revoked_while_valkey_was_away_is_refused_when_it_is_back(known, valkey):
    with valkey.away():
        apikey_revoke(apikey=known.apikey, acting_user=None)
    wait_until(lambda: known.ask().status_code == 401, seconds=1)


def test_changes_are_heard_again_after_valkey_was_away(known, valkey):
    with valkey.away():
        pass
    wait_until(lambda: known.ask().status_code == 200, seconds=3)
    apikey_revoke(apikey=known.apikey, acting_user=None)
    wait_until(lambda: known.ask().status_code == 401, seconds=1)


def test_a_budget_stays_spent_when_valkey_has_lost_everything(a_developer, installation):
    developer = a_developer(budgets=[a_spec(limit=100)])
    wait_until(lambda: developer.ask("[[sim:tokens=200]]").status_code == 200, seconds=3)
    row = only_entry(developer.apikey)
    with installation.valkey() as client:
        client.flushall()
    answer = developer.ask()
    assert answer.status_code == 429
    assert f"Used {row.charged_tokens:,} of 100 tokens" in answer.json()["error"]["message"]


def test_a_malformed_event_keeps_nobody_out(a_developer, installation):
    with installation.valkey() as client:
        for shard in range(16):
            client.xadd(f"{{s{shard:02d}}}:events", {"nonsense": "1"})
    developer = a_developer()
    wait_until(lambda: developer.ask().status_code != 503, seconds=3)
    assert developer.ask().status_code == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_known_key_goes_on_without_postgres(known, postgres, path):
    with away(postgres):
        statuses = [known.post(path, json=a_question()).status_code for _call in range(10)]
    assert statuses == [200] * 10


def test_an_unknown_key_waits_for_postgres(a_developer, postgres):
    developer = a_developer()
    with away(postgres):
        answer = developer.ask()
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "api_error")
        assert int(answer.headers["retry-after"]) > 0
    wait_until(lambda: developer.ask().status_code == 200, seconds=3)


def test_a_malformed_key_is_refused_without_a_lookup(known, postgres):
    malformed = compose("m" * 32).text[:-1] + "!"
    with away(postgres):
        answer = known.get("/v1/models", headers={"x-api-key": malformed})
    assert answer.status_code == 401


def test_what_was_used_without_postgres_is_in_the_ledger_later(known, postgres):
    with away(postgres):
        answer = known.ask()
    assert ledger_entry(answer.headers["request-id"]).status == "completed"


def test_500_for_a_fault_of_the_gateway_tells_no_internals(known, gateway):
    prices = list(Price.objects.all())
    Price.objects.all().delete()
    invalidation.publish(invalidation.EVERYTHING)
    try:
        answer = wait_until(lambda: (a := known.ask()).status_code == 500 and a, seconds=2)
    finally:
        Price.objects.bulk_create(prices)
        invalidation.publish(invalidation.EVERYTHING)
    assert answer.json()["error"] == {
        "type": "api_error",
        "message": "The gateway failed. Try again shortly.",
    }
    logged = [json.loads(line) for line in gateway.log().splitlines() if "exception" in line]
    assert answer.headers["request-id"] in {line.get("request_id") for line in logged}
    wait_until(lambda: known.ask().status_code == 200, seconds=2)
