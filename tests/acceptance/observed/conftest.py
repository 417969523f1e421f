"""An installation that is watched: two upstream accounts, a receiver of traces, a gateway.

The first account serves Opus alone and is overloaded; the second serves everything.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture(scope="session")
def shared_installation(engines: None, pristine: str) -> Iterator[Installation]:
    """Stores of its own: accounts hold for a whole installation."""
    name = f"claudcode_observed_{os.getpid()}"
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    with new_database(os.environ["DATABASE_URL"], name, pristine) as database_url:
        installation = Installation(database_url, valkey_url)
        with installation.valkey() as valkey:
            valkey.flushdb()
        yield installation


@pytest.fixture(scope="session")
def shared_simulator(
    shared_installation: Installation, django_db_blocker
) -> Iterator[SimulatorProcess]:
    """The account that answers; the overloaded one is beside it."""
    with SimulatorProcess() as fine, SimulatorProcess("--mark", "status=529") as overloaded:
        with django_db_blocker.unblock(), _on(shared_installation):
            _add_account("overloaded", overloaded, models=[OVERLOADED_MODEL], priority=1)
            _add_account("fine", fine, priority=2)
        yield fine


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where traces are sent."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def gateway_settings(shared_simulator: SimulatorProcess) -> dict[str, str]:
    """What every gateway here is told."""
    return IMPATIENT | {
        "CREDENTIAL_KEYS": CREDENTIAL_KEY,
        "TAVILY_STAND_IN_URL": shared_simulator.url,
    }


@pytest.fixture(scope="session")
def shared_gateway(
    shared_installation: Installation, gateway_settings: dict[str, str], collector: Collector
) -> Iterator[GatewayProcess]:
    """A gateway that tells what it does, soon."""
    settings = gateway_settings | {"TRACES_ENDPOINT": collector.endpoint}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
        started = GatewayProcess(shared_installation, "http://127.0.0.1:9", **settings)
    with started as gateway:
        yield gateway


@pytest.fixture(scope="module")
def installation(shared_installation: Installation, django_db_blocker) -> Iterator[Installation]:
    """The stores, with this process' ORM on them."""
    with django_db_blocker.unblock(), _on(shared_installation):
        yield shared_installation


@contextlib.contextmanager
def _on(installation: Installation) -> Iterator[None]:
    with installation.connected(), override_settings(CREDENTIAL_KEYS=[CREDENTIAL_KEY]):
        yield


def _add_account(name: str, simulator: SimulatorProcess, **fields: Any) -> None:
    upstream_add(
        name=name,
        base_url=simulator.url,
        credential=UPSTREAM_SECRET,
        acting_user=None,
        **fields,
    )
