"""A primary is replaced: the gateway and the drain go on with the next one, without a restart."""

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connections

from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.postgres.conftest import a_gateway, installation_at
from tests.factories import a_key_and_secret
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

pytestmark = pytest.mark.slow

# What is promised: docs/failures.md.
BACK_S_MAX = 20


@pytest.fixture(scope="module")
def installation(pair, django_db_blocker) -> Iterator[Installation]:
    url = pair.url(pair.primary, pair.replica, target_session_attrs="read-write")
    found = installation_at(url)
    with django_db_blocker.unblock(), found.connected():
        yield found


@pytest.fixture(scope="module")
def gateway(installation, shared_simulator) -> Iterator[GatewayProcess]:
    with a_gateway(installation, shared_simulator) as gateway:
        yield gateway


def drained(developer: Developer, count: int) -> bool:
    ledger.drain()
    return LedgerEntry.objects.filter(apikey=developer.apikey).count() == count


def goes_on(gateway, http, pair) -> None:
    """Someone whom the gateway has never seen is looked up and answered; it is written down."""
    pair.primary.ask("SELECT 1")
    made = wait_until(lambda: quietly(lambda: a_key_and_secret(rpm=None)), BACK_S_MAX)
    newcomer = Developer(http, gateway.url, *made)
    wait_until(lambda: newcomer.ask().status_code == 200, BACK_S_MAX)
    wait_until(lambda: quietly(lambda: drained(newcomer, 1)), BACK_S_MAX)
    readiness = http.get(f"{gateway.url}/readyz")
    assert readiness.status_code == 200, readiness.text


def quietly(ask):
    try:
        return ask()
    except DatabaseError:
        return None
    finally:
        connections.close_all()


def test_a_primary_that_takes_no_more_writes_is_left(gateway, developer, http, pair):
    assert developer.ask().status_code == 200
    wait_until(lambda: drained(developer, 1))
    pair.wait_for_replica()
    held = pair.primary.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = 'claudcode'")
    assert held, "the pools of both have connections to the one that is demoted"
    pair.fail_over()
    pair.replica.refuse_writes()
    goes_on(gateway, http, pair)
    assert developer.ask().status_code == 200
    wait_until(lambda: drained(developer, 2))


def test_a_primary_that_dies_is_replaced(gateway, developer, http, pair):
    pair.copy_again()
    assert developer.ask().status_code == 200
    wait_until(lambda: drained(developer, 1))
    pair.wait_for_replica()
    pair.primary.kill()
    known = developer.ask()
    assert known.status_code == 200, "who is known needs no Postgres"
    pair.fail_over()
    goes_on(gateway, http, pair)
    wait_until(lambda: drained(developer, 2))
