"""One installation, one simulator and one gateway for all acceptance tests that share settings.

A module that needs others overrides `installation`, `upstream_url` or `gateway`; everything else
here follows. Tests never share a key, so nobody sees another's limits.
"""

import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import django
import httpx
import pytest

# A folder named on the command line is loaded before pytest-django has done this.
django.setup()

from proxy.rest import resting, wake  # noqa: E402
from tests.acceptance.developer import PATIENCE_S, Developer, a_question  # noqa: E402
from tests.acceptance.gateway_process import GatewayProcess  # noqa: E402
from tests.acceptance.installation import Installation, new_database  # noqa: E402
from tests.acceptance.simulator_process import SimulatorProcess  # noqa: E402
from tests.factories import a_key_and_secret  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

# Beside the one that other tests flush (tests/conftest.py).
VALKEY_DATABASES = iter((14, 12, 11))
# As in production, but impatient, so that waiting out a bound takes a second or two.
IMPATIENT = {
    "PING_AFTER_S": "1",
    "BODY_SECONDS_MAX": "3",
    "UPSTREAM_READ_SECONDS_MAX": "3",
    "DRAIN_SECONDS_MAX": "10",
}


@pytest.fixture(scope="session")
def shared_installation(engines: None, pristine: str) -> Iterator[Installation]:
    """A migrated database and an empty Valkey, kept for the session.

    Each folder of tests that takes this fixture has one of its own.
    """
    number = next(VALKEY_DATABASES)
    name = f"claudcode_acceptance_{os.getpid()}_{number}"
    valkey_url = with_database(os.environ["VALKEY_URL"], number)
    with new_database(os.environ["DATABASE_URL"], name, pristine) as database_url:
        installation = Installation(database_url, valkey_url)
        with installation.valkey() as valkey:
            valkey.flushdb()
        yield installation


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[SimulatorProcess]:
    """An upstream, kept for the session."""
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def shared_gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    """A gateway of one worker, kept for the session."""
    url = shared_simulator.url
    settings = IMPATIENT | {"TAVILY_STAND_IN_URL": url}
    with GatewayProcess(shared_installation, url, **settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def installation(shared_installation: Installation, django_db_blocker) -> Iterator[Installation]:
    """The stores, with this process' ORM on them."""
    with django_db_blocker.unblock(), shared_installation.connected():
        yield shared_installation


@pytest.fixture(scope="module")
def simulator(shared_simulator: SimulatorProcess) -> SimulatorProcess:
    """The upstream."""
    return shared_simulator


@pytest.fixture(scope="module")
def gateway(shared_gateway: GatewayProcess) -> GatewayProcess:
    """The gateway."""
    return shared_gateway


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """Connections to whatever a test talks to."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    with httpx.Client(timeout=PATIENCE_S, limits=limits, trust_env=False) as client:
        yield client


@pytest.fixture
def a_developer(
    installation: Installation, gateway: GatewayProcess, http: httpx.Client
) -> Callable[..., Developer]:
    """Makes developers: each has a new key, with whatever limits are given."""

    def make(**fields) -> Developer:
        return Developer(http, gateway.url, *a_key_and_secret(**fields))

    return make


@pytest.fixture
def developer(a_developer: Callable[..., Developer]) -> Developer:
    """A developer whom no limit stops."""
    return a_developer(rpm=None, concurrency=None)


@pytest.fixture
def awake(
    installation: Installation, gateway: GatewayProcess, developer: Developer
) -> Iterator[None]:
    """For tests whose upstream asks for a rest: nobody after them has to wait it out."""
    yield
    uncached = {"x-no-cache": "true"}
    asked = {"json": a_question(), "headers": uncached}
    wait_until(lambda: _all_wake() and developer.post("/v1/messages", **asked).is_success)


def _all_wake() -> bool:
    for account_id in resting():
        wake(account_id)
    return True


def with_database(valkey_url: str, database: int) -> str:
    """Return the address of another logical database of the same Valkey."""
    url = urlsplit(valkey_url)
    if url.scheme == "unix":
        return f"unix://{url.path}?db={database}"
    return url._replace(path=f"/{database}").geturl()
