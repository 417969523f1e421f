"""Two gateway processes behind one port obey the same changes and share the same limits."""

import contextlib
import http.client
import json

import pytest

from keys.services import (
    apikey_disable,
    apikey_revoke,
    apikey_update,
    budget_add,
    claude_model_update,
    maintenance_set,
)
from tests.acceptance.developer import a_question
from tests.factories import a_model, a_spec, a_team
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def gateway(tuned_gateway):
    return tuned_gateway


@pytest.fixture(scope="module")
def both_workers(gateway):
    """A connection to each worker."""
    with contextlib.ExitStack() as open_connections:
        found = {}

        def connect():
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
            open_connections.enter_context(contextlib.closing(connection)).connect()
            port = connection.sock.getsockname()[1]
            found[wait_until(lambda: gateway.worker_serving(port))] = connection
            return len(found) == 2

        wait_until(connect, seconds=30)
        yield list(found.values())


def ask_both(both_workers, developer, **fields):
    """The statuses of the same question at each worker."""
    statuses = []
    for worker in both_workers:
        body = json.dumps(a_question(**fields))
        worker.request("POST", "/v1/messages", body, developer.headers)
        answer = worker.getresponse()
        answer.read()
        statuses.append(answer.status)
    return statuses


def cut_requests(apikey):
    apikey_update(apikey=apikey, changes={"rpm": 0}, acting_user=None)


def take_models(apikey):
    apikey_update(apikey=apikey, changes={"models": ["claude-opus-4-6"]}, acting_user=None)


def narrow_addresses(apikey):
    apikey_update(apikey=apikey, changes={"cidrs": ["10.0.0.0/8"]}, acting_user=None)


def add_budget(apikey):
    budget_add(holder=apikey, spec=a_spec(limit=0), acting_user=None)


def add_team_budget(apikey):
    budget_add(holder=apikey.team, spec=a_spec(limit=0), acting_user=None)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param(lambda key: apikey_revoke(apikey=key, acting_user=None), 401, id="revoked"),
        pytest.param(lambda key: apikey_disable(apikey=key, acting_user=None), 401, id="disabled"),
        pytest.param(narrow_addresses, 401, id="address not allowed"),
        pytest.param(take_models, 403, id="model not allowed"),
        pytest.param(cut_requests, 429, id="no requests"),
        pytest.param(add_budget, 429, id="a budget of nothing"),
        pytest.param(add_team_budget, 429, id="a team's budget of nothing"),
    ],
)
def test_a_change_of_a_key_reaches_both_within_a_second(both_workers, a_developer, change, status):
    developer = a_developer(team=a_team(), rpm=None)
    assert ask_both(both_workers, developer) == [200, 200]
    change(developer.apikey)
    wait_until(lambda: ask_both(both_workers, developer) == [status, status], seconds=1)


def test_a_change_of_the_catalogue_reaches_both_within_a_second(both_workers, developer):
    model = a_model(model_id="claude-short-lived-1")
    # Unknown upstream: who is let through gets its 404.
    wait_until(
        lambda: ask_both(both_workers, developer, model=model.model_id) == [404, 404], seconds=1
    )
    claude_model_update(claude_model=model, changes={"enabled": False}, acting_user=None)
    wait_until(
        lambda: ask_both(both_workers, developer, model=model.model_id) == [403, 403], seconds=1
    )


def test_maintenance_closes_and_opens_both_within_a_second(both_workers, developer):
    assert ask_both(both_workers, developer) == [200, 200]
    maintenance_set(enabled=True, acting_user=None)
    try:
        wait_until(lambda: ask_both(both_workers, developer) == [503, 503], seconds=1)
    finally:
        maintenance_set(enabled=False, acting_user=None)
    wait_until(lambda: ask_both(both_workers, developer) == [200, 200], seconds=1)


def test_both_count_the_same_requests(both_workers, a_developer):
    developer = a_developer(rpm=3)
    statuses = [ask_both(both_workers, developer) for _twice in range(2)]
    assert statuses == [[200, 200], [200, 429]]


def test_both_count_the_same_tokens(both_workers, a_developer):
    developer = a_developer(rpm=None, budgets=[a_spec(limit=20)])
    assert ask_both(both_workers, developer) == [200, 429]
    assert ask_both(both_workers, developer) == [429, 429]
