"""A gateway whose web tools ask the simulator's stand-in for Tavily."""

from collections.abc import Iterator

import pytest

from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess
from tests.waiting import wait_until
from usage.ledger import drain
from usage.models import LedgerEntry

IMPATIENT = {"TAVILY_SECONDS_MAX": "2", "LEASE_TTL_S": "5", "LEASE_RENEW_S": "1"}


@pytest.fixture(scope="session")
def tools_gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    """A gateway of one worker, kept for the session."""
    url = shared_simulator.url
    with GatewayProcess(shared_installation, url, TAVILY_STAND_IN_URL=url, **IMPATIENT) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gateway(tools_gateway: GatewayProcess) -> GatewayProcess:
    """The gateway."""
    return tools_gateway


def entries_of(apikey, count: int) -> list[LedgerEntry]:
    """Return the ledger entries of a key, oldest first, when there are `count`."""

    def written() -> bool:
        drain()
        return LedgerEntry.objects.filter(apikey=apikey).count() >= count

    wait_until(written)
    return list(LedgerEntry.objects.filter(apikey=apikey).order_by("admitted_at"))
