"""The client of Tavily against the simulator's stand-in."""

import asyncio

import pytest

from tests.acceptance.simulator_process import SimulatorProcess
from webtools.core.calls import Tool, tool_call
from webtools.tavily import (
    AnswerTooLarge,
    CallRefused,
    Credential,
    CredentialRefused,
    Exhausted,
    TavilyClient,
    TavilySlow,
    TavilyUnreachable,
)


@pytest.fixture(scope="module")
def tavily_url():
    with SimulatorProcess() as simulator:
        yield simulator.url


@pytest.fixture
async def client():
    found = TavilyClient(connections_max=4, connect_seconds_max=2, seconds_max=2)
    yield found
    await found.close()


@pytest.mark.parametrize(
    ("tool", "arguments", "results"),
    [
        (Tool.SEARCH, {"query": "owls", "max_results": 2}, 2),
        (Tool.EXTRACT, {"urls": ["https://a.example"]}, 1),
        (Tool.CRAWL, {"url": "https://a.example", "limit": 2}, 2),
        (Tool.MAP, {"url": "https://a.example", "limit": 3}, 3),
    ],
)
async def test_each_call_brings_results(client, tavily_url, tool, arguments, results):
    answer = await client.call(tool_call(tool, arguments), Credential(tavily_url, "tvly-x"))
    assert len(answer["results"]) == results
    assert answer["usage"]["credits"] >= 1


@pytest.mark.parametrize(
    ("mark", "error"),
    [
        ("status=400 message=odd", CallRefused),
        ("status=401", CredentialRefused),
        ("status=403", CredentialRefused),
        ("status=429", Exhausted),
        ("status=432", Exhausted),
        ("status=500", TavilyUnreachable),
        ("cut", TavilyUnreachable),
        ("slow seconds=30", TavilySlow),
        ("large=9000", AnswerTooLarge),
    ],
)
async def test_each_trouble_has_a_kind(client, tavily_url, mark, error):
    call = tool_call(Tool.SEARCH, {"query": f"owls [[sim:{mark}]]"})
    with pytest.raises(error):
        await client.call(call, Credential(tavily_url, "tvly-x"))


async def test_an_answer_below_the_bound_is_read_whole(client, tavily_url):
    call = tool_call(Tool.SEARCH, {"query": "owls [[sim:large=4000]]"})
    answer = await client.call(call, Credential(tavily_url, "tvly-x"))
    assert len(answer["results"][0]["content"]) > 4_000_000


async def test_nobody_there_is_unreachable(client):
    call = tool_call(Tool.SEARCH, {"query": "owls"})
    with pytest.raises(TavilyUnreachable, match="cannot be reached"):
        await client.call(call, Credential("http://127.0.0.1:9", "tvly-x"))


async def test_no_credential_is_refused(client, tavily_url):
    call = tool_call(Tool.SEARCH, {"query": "owls"})
    with pytest.raises(CredentialRefused, match="The gateway's Tavily account"):
        await client.call(call, Credential(tavily_url, ""))


async def test_whoever_is_cancelled_hangs_up(client, tavily_url):
    call = tool_call(Tool.SEARCH, {"query": "owls [[sim:slow seconds=30]]"})
    asking = asyncio.create_task(client.call(call, Credential(tavily_url, "tvly-x")))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_a_secret_is_not_printed():
    assert "tvly-secret" not in repr(Credential("https://api.tavily.com", "tvly-secret"))
