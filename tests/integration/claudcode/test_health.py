"""`/healthz` and `/readyz` against real stores."""

import json
import time
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from claudcode import health


@pytest.fixture
def readyz() -> health.Readyz:
    return health.Readyz()


async def get(application: Any) -> tuple[int, dict[str, Any]]:
    exchange = ApplicationCommunicator(application, {"type": "http", "method": "GET"})
    start = await exchange.receive_output(timeout=10)
    body = await exchange.receive_output()
    return start["status"], json.loads(body["body"])


def failing(answer: dict[str, Any]) -> list[str]:
    return [part["name"] for part in answer["parts"] if not part["ok"]]


async def test_the_process_is_alive():
    assert await get(health.healthz) == (200, {"status": "ok"})


async def test_all_is_ready(readyz, valkey):
    status, answer = await get(readyz)
    assert (status, answer["status"], failing(answer)) == (200, "ok", [])


async def test_a_ledger_that_is_behind_is_not_ready(readyz, valkey, settings):
    an_hour_ago = int(time.time() - 3600) * 1000
    valkey.xadd("{s03}:events", {"x": "1"}, id=f"{an_hour_ago}-0")
    status, answer = await get(readyz)
    assert (status, failing(answer)) == (503, ["drain"])


async def test_events_that_take_most_of_the_memory_are_not_ready(readyz, valkey):
    valkey.xadd("{s03}:events", {"x": "1" * 100_000})
    valkey.config_set("maxmemory", 150_000)
    try:
        status, answer = await get(readyz)
    finally:
        valkey.config_set("maxmemory", 0)
    assert (status, failing(answer)) == (503, ["valkey"])


async def test_a_drained_event_that_is_kept_for_a_while_is_no_lag(readyz, valkey):
    an_hour_ago = int(time.time() - 3600) * 1000
    valkey.xadd("{s03}:events", {"x": "1"}, id=f"{an_hour_ago}-0")
    valkey.set("{s03}:drained", f"{an_hour_ago}-0")
    assert (await get(readyz))[0] == 200


async def test_lost_stores_are_named_and_their_addresses_are_not(readyz, settings):
    settings.DATABASE_URL = "postgresql://me:secret@127.0.0.1:1/nowhere"
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    status, answer = await get(readyz)
    assert (status, failing(answer)) == (503, ["postgres", "valkey", "drain"])
    assert "127.0.0.1" not in json.dumps(answer)


async def test_a_flood_of_probes_looks_once(readyz, valkey, settings):
    await get(readyz)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert (await get(readyz))[0] == 200
