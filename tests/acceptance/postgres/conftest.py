"""Gateways on Postgres servers that are broken, replaced, and reached through a pooler."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.conftest import IMPATIENT, with_database
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess
from tests.postgres_pair import Pair, a_pair
from tests.previous_release import in_history

# A shallow clone has not the code of the release before; what is recorded of it is tested anyway.
collect_ignore = [] if in_history() else ["test_previous_release.py"]
VALKEY_DATABASE = 8  # Others have 9 to 15 (tests/acceptance/).
# Every drain is one that a test asks for; every key is looked up.
SETTINGS = IMPATIENT | {"LOOKUPS_PER_S_MAX": "1000"}


@pytest.fixture(scope="module")
def pair(engines: None, django_db_blocker) -> Iterator[Pair]:
    """A migrated primary and its replica, for the tests of a module."""
    with a_pair() as made:
        installation = installation_at(made.url(made.primary))
        with django_db_blocker.unblock(), installation.connected():
            installation.migrate()
        made.wait_for_replica()
        with installation.valkey() as valkey:
            valkey.flushdb()
        yield made


def installation_at(database_url: str) -> Installation:
    """Return the installation whose Postgres is reached at `database_url`."""
    return Installation(database_url, with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE))


@contextmanager
def a_gateway(
    installation: Installation, simulator: SimulatorProcess, **settings: str
) -> Iterator[GatewayProcess]:
    """Run a gateway of one worker."""
    with GatewayProcess(installation, simulator.url, **SETTINGS | settings) as gateway:
        yield gateway
