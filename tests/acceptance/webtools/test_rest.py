"""Tavily's own REST with keys of ours, through the official `tavily-python` and by hand."""

import os
import signal
import threading

import pytest
from tavily import TavilyClient
from tavily.errors import BadRequestError, InvalidAPIKeyError, UsageLimitExceededError

from keys.core.limits import Unit
from keys.services import apikey_revoke
from keys.sweep import sweep
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.raw_http import connect, head
from tests.acceptance.webtools.conftest import IMPATIENT, entries_of
from tests.factories import a_budget
from tests.waiting import wait_until
from webtools.models import ToolRule


def tavily_of(developer):
    return TavilyClient(api_key=developer.secret, api_base_url=f"{developer.base_url}/tavily")


def test_the_official_client_calls_everything(developer):
    client = tavily_of(developer)
    assert client.search("owls", max_results=2)["results"][1]["title"].startswith("Fictional")
    assert client.extract(["https://a.example"])["results"][0]["url"] == "https://a.example"
    assert client.crawl("https://a.example", limit=2)["results"][1]["raw_content"]
    assert client.map("https://a.example")["results"][0] == "https://a.example/made-up-1"
    models = [entry.model_answered for entry in entries_of(developer.apikey, 4)]
    assert models == ["tavily-search", "tavily-extract", "tavily-crawl", "tavily-map"]


def test_the_official_client_raises_what_it_raises_for_tavily(a_developer):
    developer = a_developer(rpm=1)
    client = tavily_of(developer)
    with pytest.raises(BadRequestError, match="max_results"):
        client.search("owls", max_results=99)
    client.search("owls")
    with pytest.raises(UsageLimitExceededError, match="1 requests a minute"):
        client.search("owls")
    apikey_revoke(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: developer.post("/tavily/search", json={}).status_code == 401)
    with pytest.raises(InvalidAPIKeyError, match="revoked"):
        client.search("owls")


@pytest.mark.parametrize(
    ("mark", "status"),
    [("status=500", 502), ("status=401", 502), ("status=429", 503), ("slow seconds=20", 504)],
)
def test_trouble_at_tavily_has_its_shape(developer, mark, status):
    answer = developer.post("/tavily/search", json={"query": f"owls [[sim:{mark}]]"})
    assert answer.status_code == status
    assert answer.json()["detail"]["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_a_body_that_is_no_object_is_refused(developer, body):
    answer = developer.post("/tavily/search", content=body)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["detail"]["error"]


def test_a_budget_that_is_spent_says_when_to_come_back(developer):
    a_budget(developer.apikey, unit=Unit.NANOUSD, limit=1)
    assert developer.post("/tavily/search", json={"query": "a"}).status_code == 200
    denied = developer.post("/tavily/search", json={"query": "b"})
    assert denied.status_code == 429
    assert int(denied.headers["retry-after"]) > 0


def test_a_switch_is_obeyed(developer):
    ToolRule.objects.create(apikey=developer.apikey, enabled=False)
    assert developer.post("/tavily/search", json={"query": "a"}).status_code == 403


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "search", 405), ("POST", "x", 404)])
def test_what_is_not_there_is_refused(developer, method, path, status):
    assert developer.send(method, f"/tavily/{path}", json={"query": "a"}).status_code == status


def test_whoever_hangs_up_is_charged_what_the_call_can_cost(developer, gateway):
    body = b'{"query":"owls [[sim:slow seconds=20]]"}'
    lines = (f"x-api-key: {developer.secret}", f"content-length: {len(body)}")
    with connect(gateway.port) as connection:
        connection.sendall(head("POST", "/tavily/search", *lines) + body)
        wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 1)
    (entry,) = entries_of(developer.apikey, 1)
    assert (entry.status, entry.estimated, entry.cost_nanousd) == ("hung_up", True, 8_000_000)


def test_a_notice_of_cancellation_ends_the_call(developer):
    notice = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "c-1"},
    }
    asked = {
        "jsonrpc": "2.0",
        "id": "c-1",
        "method": "tools/call",
        "params": {"name": "search", "arguments": {"query": "owls [[sim:slow seconds=20]]"}},
    }
    both = {"accept": "application/json, text/event-stream"}
    asking = threading.Thread(target=lambda: developer.post("/mcp", json=asked, headers=both))
    asking.start()
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 1)
    assert developer.post("/mcp", json=notice, headers=both).status_code == 202
    asking.join(30)
    (entry,) = entries_of(developer.apikey, 1)
    assert entry.status == "hung_up"


def test_a_process_that_is_killed_leaves_an_abandoned_row(
    developer, shared_installation, shared_simulator
):
    url, body = shared_simulator.url, b'{"query":"owls [[sim:slow seconds=50]]"}'
    settings = IMPATIENT | {"TAVILY_STAND_IN_URL": url, "TAVILY_SECONDS_MAX": "60"}
    lines = (f"x-api-key: {developer.secret}", f"content-length: {len(body)}")
    with (
        GatewayProcess(shared_installation, url, **settings) as doomed,
        connect(doomed.port) as connection,
    ):
        connection.sendall(head("POST", "/tavily/search", *lines) + body)
        wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 1)
        os.kill(doomed.pid, signal.SIGKILL)

    def swept() -> bool:
        sweep()
        return developer.status()["rate_limit"]["in_flight"] == 0

    wait_until(swept, 15)
    (entry,) = entries_of(developer.apikey, 1)
    assert (entry.status, entry.cost_nanousd) == ("abandoned", 8_000_000)
