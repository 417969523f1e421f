"""Every test of the upstream client runs under both event loops, and must leave nothing open."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from proxy.upstream import UpstreamClient


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    # Production has uvloop; `manage.py runserver` does not.
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No socket and no task outlives the test."""
    before = open_sockets()
    yield
    async with asyncio.timeout(5):
        while open_sockets() > before or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)


@pytest.fixture
async def client(nothing_left: None) -> AsyncIterator[UpstreamClient]:
    """A client that waits a second at most."""
    made = UpstreamClient(connections_max=4, connect_seconds_max=1.0, read_seconds_max=1.0)
    yield made
    await made.close()


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:  # The one that listed them.
            continue
    return found
