"""What the tests of the data plane share beyond the one gateway: a second one, and a head start."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key_and_secret

# Every bound small enough to run into.
TUNED = {
    "BODY_BYTES_MAX": "100000",
    "BODIES_BYTES_MAX": "150000",
    "CACHE_READ_WEIGHT_PERCENT": "50",
    "COUNT_TOKENS_RPM": "3",
    "DRAIN_SECONDS_MAX": "1",
    "EXCHANGE_SECONDS_MAX": "3",
    "TRUSTED_PROXIES": "127.0.0.0/8",
}
SLOW_HEAD = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nx-slow: "
SLOW_HEAD_SECONDS_MAX = 45.0


@dataclass(frozen=True, slots=True)
class Minute:
    """What became of a minute's spent requests: statuses in the end's last second and after it."""

    just_before: int
    at_the_end: int


@dataclass(frozen=True, slots=True)
class LongWaits:
    """What takes a minute, begun with the first test."""

    minute: "Future[Minute]"
    slow_head_s: "Future[float]"


@pytest.fixture(scope="session", autouse=True)
def long_waits(
    shared_installation: Installation,
    shared_gateway: GatewayProcess,
    http: httpx.Client,
    django_db_blocker,
) -> Iterator[LongWaits]:
    """Two waits on the shared gateway, waited out beside all other tests."""
    with django_db_blocker.unblock(), shared_installation.connected():
        developer = Developer(http, shared_gateway.url, *a_key_and_secret(rpm=1))
    over = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        try:
            yield LongWaits(
                threads.submit(wait_out_a_minute, developer, over),
                threads.submit(send_a_slow_head, shared_gateway.port, over),
            )
        finally:
            over.set()


@pytest.fixture(scope="session")
def tuned_gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    """A gateway of two workers with small bounds."""
    upstream_url = shared_simulator.url
    with GatewayProcess(shared_installation, upstream_url, workers=2, **TUNED) as gateway:
        yield gateway


def wait_out_a_minute(developer: Developer, over: threading.Event) -> Minute:
    """Spend the one request of a minute and ask just before and just after its end."""
    assert developer.ask().status_code == 200
    end_s = int(developer.ask().headers["x-ratelimit-reset"])
    over.wait(end_s - 0.4 - time.time())
    just_before = developer.ask().status_code
    over.wait(end_s - time.time())
    return Minute(just_before, developer.ask().status_code)


def send_a_slow_head(port: int, over: threading.Event) -> float:
    """Send a header a byte a second; return after how many seconds the gateway had enough."""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(SLOW_HEAD)
        while time.monotonic() - began_s < SLOW_HEAD_SECONDS_MAX and not over.is_set():
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return time.monotonic() - began_s
