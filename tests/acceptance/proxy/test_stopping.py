"""What clients see when the gateway is stopped and its time for them is over."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.developer import Developer, events
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, ledger_entry
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key_and_secret

# Longer than the two seconds that the gateway gives to exchanges.
SLOW = "[[sim:tokens=300]] [[sim:rate=30]]"


@pytest.fixture
def gateway(installation: Installation, simulator: SimulatorProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(installation, simulator.url) as gateway:
        yield gateway


@pytest.fixture
def developer(gateway: GatewayProcess, http: httpx.Client) -> Developer:
    return Developer(http, gateway.url, *a_key_and_secret())


def test_a_stream_ends_with_an_error_event_and_is_charged(gateway, developer):
    with developer.listen(SLOW) as answer:
        stopping = threading.Thread(target=gateway.stop)
        stopping.start()
        answer.read()
    stopping.join()
    assert events(answer)[-1] == "error"
    assert "The gateway is stopping." in answer.text
    entry = ledger_entry(answer.headers["request-id"])
    assert (entry.status, entry.estimated) == ("gateway_error", True)
    assert entry.output_tokens > 0


def test_who_waits_for_a_whole_answer_is_told_to_come_again(gateway, developer, simulator):
    stopping = threading.Timer(0.5, gateway.stop)
    stopping.start()
    answer = developer.ask(SLOW)
    stopping.join()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["type"] == "api_error"
    assert ledger_entry(answer.headers["request-id"]).status == "gateway_error"
