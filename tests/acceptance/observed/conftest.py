"""An installation that is watched: two upstream accounts, a receiver of traces, a gateway.

The first account serves Opus alone and is overloaded; the second serves everything.
"""

import os
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from proxy.services import upstream_add
from tests.acceptance.conftest import IMPATIENT, with_database
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, new_database
from tests.acceptance.observed.collector import Collector
from tests.acceptance.simulator_process import SimulatorProcess

VALKEY_DATABASE = 9  # Others have 10 to 15 (tests/acceptance/conftest.py).
CREDENTIAL_KEY = Fernet.generate_key().decode()
UPSTREAM_SECRET = "sk-ant-canary-of-an-account"
OVERLOADED_MODEL = "claude-opus-4-6"


@pytest.fixture(scope="package")
def installation(engines: None, django_db_blocker) -> Iterator[Installation]:
    """Stores of its own: accounts hold for a whole installation."""
    name = f"claudcode_observed_{os.getpid()}"
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    with new_database(os.environ["DATABASE_URL"], name) as database_url:
        installation = Installation(database_url, valkey_url)
        with installation.valkey() as valkey:
            valkey.flushdb()
        with (
            django_db_blocker.unblock(),
            installation.connected(),
            override_settings(CREDENTIAL_KEYS=[CREDENTIAL_KEY]),
        ):
            installation.migrate()
            yield installation


@pytest.fixture(scope="package")
def simulator(installation: Installation) -> Iterator[SimulatorProcess]:
    """The account that answers; the overloaded one is beside it."""
    with SimulatorProcess() as fine, SimulatorProcess("--mark", "status=529") as overloaded:
        upstream_add(
            name="overloaded",
            base_url=overloaded.url,
            credential=UPSTREAM_SECRET,
            models=[OVERLOADED_MODEL],
            priority=1,
            acting_user=None,
        )
        upstream_add(
            name="fine",
            base_url=fine.url,
            credential=UPSTREAM_SECRET,
            priority=2,
            acting_user=None,
        )
        yield fine


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Where traces are sent."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="package")
def gateway_settings(simulator: SimulatorProcess) -> dict[str, str]:
    """What every gateway here is told."""
    return IMPATIENT | {
        "CREDENTIAL_KEYS": CREDENTIAL_KEY,
        "TAVILY_STAND_IN_URL": simulator.url,
    }


@pytest.fixture(scope="package")
def gateway(
    installation: Installation, gateway_settings: dict[str, str], collector: Collector
) -> Iterator[GatewayProcess]:
    """A gateway that tells what it does, soon."""
    settings = gateway_settings | {"TRACES_ENDPOINT": collector.endpoint}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
        started = GatewayProcess(installation, "http://127.0.0.1:9", **settings)
    with started as gateway:
        yield gateway
