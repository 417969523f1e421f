"""Usage is read from a streaming replica while that is near enough; money never is."""

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.postgres.conftest import a_gateway, installation_at
from tests.postgres_pair import Pair
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

pytestmark = pytest.mark.slow

LAG_S_MAX = 8
SAID = ("the replica of Postgres is not read", "the replica of Postgres failed")


@pytest.fixture(scope="module")
def installation(pair: Pair, django_db_blocker) -> Iterator[Installation]:
    found = installation_at(pair.url(pair.primary))
    with django_db_blocker.unblock(), found.connected():
        yield found


@pytest.fixture(scope="module")
def gateway(pair, installation, shared_simulator) -> Iterator[GatewayProcess]:
    settings = {
        "REPLICA_URL": pair.url(pair.replica, application_name="usage"),
        "REPLICA_LAG_S_MAX": str(LAG_S_MAX),
        "METRICS_NETWORKS": "127.0.0.0/8",
    }
    with a_gateway(installation, shared_simulator, **settings) as gateway:
        yield gateway


@pytest.fixture
def paused(pair: Pair) -> Iterator[None]:
    """The replica receives, and replays nothing, until the test is over."""
    pair.wait_for_replica()
    pair.replica.ask("SELECT pg_wal_replay_pause()")
    wait_until(lambda: pair.replica.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")
    yield
    pair.replica.ask("SELECT pg_wal_replay_resume()")
    pair.wait_for_replica()


def asks(developer: Developer, times: int) -> None:
    """The developer asks once more; it is the exchange of this number in the ledger."""
    assert developer.ask().status_code == 200
    rows = LedgerEntry.objects.filter(apikey=developer.apikey)
    wait_until(lambda: ledger.drain() or rows.count() == times, 10)


def requests_told(developer: Developer) -> int:
    """Return how many requests `GET /v1/usage` says."""
    answer = developer.get("/v1/usage")
    assert answer.status_code == 200, answer.text
    return answer.json()["totals"]["requests"]


def page(developer: Developer) -> str:
    """Return the page of usage, as who has the key sees it."""
    with httpx.Client(base_url=developer.base_url, trust_env=False, timeout=30) as browser:
        browser.get("/usage/sign-in/")
        form = {"api_key": developer.secret, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        signed_in = browser.post("/usage/sign-in/", data=form, follow_redirects=True)
        assert signed_in.status_code == 200
        return browser.get("/usage/").text


def gauge(developer: Developer, name: str) -> float | None:
    """Return a gauge of `/metrics`."""
    text = developer.http.get(f"{developer.base_url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(f"claudcode_{name} ")]
    return float(lines[0].split()[-1]) if lines else None


def test_usage_is_read_from_the_replica(developer, pair):
    asks(developer, 1)
    wait_until(lambda: requests_told(developer) == 1, 10, every_s=1)
    read_there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'usage'"
    assert pair.replica.ask(read_there)
    assert not pair.primary.ask(read_there)
    assert "Over time" in page(developer)
    assert wait_until(lambda: gauge(developer, "postgres_replica_up")) == 1
    assert gauge(developer, "postgres_replica_lag_seconds") < LAG_S_MAX


def test_one_that_lags_is_read_with_its_age_and_then_not(developer, paused):
    asks(developer, 1)
    assert requests_told(developer) == 0, "the replica does not know of it yet"
    text = wait_until(lambda: found if "figures are" in (found := page(developer)) else "", 20)
    assert "s old" in text
    wait_until(lambda: requests_told(developer) == 1, 20, every_s=1)


def test_it_is_read_again_once_it_has_caught_up(developer, pair, gateway):
    asks(developer, 1)
    reads = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'usage'"
    pair.wait_for_replica()
    wait_until(lambda: requests_told(developer) == 1 and pair.replica.ask(reads), 20, every_s=1)


def test_one_that_stops_is_not_missed(developer, pair, gateway):
    asks(developer, 1)
    pair.wait_for_replica()
    wait_until(lambda: requests_told(developer) == 1, 10, every_s=1)
    pair.replica.stop()

    def told() -> bool:
        assert requests_told(developer) == 1
        return any(words in gateway.log() for words in SAID)

    wait_until(told, 20, every_s=1)
    assert "Over time" in page(developer)
    assert gauge(developer, "postgres_replica_up") == 0
    pair.replica.start()


def test_one_that_was_promoted_is_no_replica_any_more(developer, pair, gateway):
    pair.wait_for_replica()
    assert pair.replica.ask("SELECT pg_promote(true, 60)")
    asks(developer, 1)

    def told() -> bool:  # Until the next look, a second at most, it is still taken for one.
        return requests_told(developer) == 1 and "it is no replica any more" in gateway.log()

    wait_until(told, 20, every_s=1)
