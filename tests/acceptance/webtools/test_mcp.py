"""The hosted MCP server through the official Python SDK of today: each tool, money, trouble."""

import json

import pytest

from keys.core.limits import Unit
from keys.services import apikey_revoke
from tests.acceptance.webtools.conftest import entries_of
from tests.acceptance.webtools.sdk_of_today import LATEST, call, use
from tests.factories import a_budget
from webtools.models import ToolRule

TOOLS = ["search", "extract", "crawl", "map", "key_status", "usage", "list_models"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
SEARCH = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "search", "arguments": {"query": "owls"}},
}


@pytest.mark.parametrize("mode", ["auto", "legacy", LATEST])
def test_every_protocol_lists_the_tools(developer, mode):
    listed = use(developer, lambda client: client.list_tools(), mode)
    assert [tool.name for tool in listed.tools] == TOOLS


@pytest.mark.parametrize("mode", ["legacy", LATEST])
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("search", {"query": "owls", "max_results": 2}, "Fictional page 1 about owls"),
        ("extract", {"urls": ["https://a.example/x"]}, "Fictional text of https://a.example/x"),
        ("crawl", {"url": "https://a.example", "limit": 2}, "a.example/made-up-2"),
        ("map", {"url": "https://a.example"}, "https://a.example/made-up-1"),
        ("key_status", {}, '"status": "active"'),
        ("usage", {"days": 7}, '"days": 7'),
        ("list_models", {}, "claude-haiku-4-5"),
    ],
)
def test_every_tool_answers(developer, mode, name, arguments, said):
    result = call(developer, name, mode, **arguments)
    assert not result.is_error, result.content
    assert said in result.content[0].text
    assert result.structured_content


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_old_protocol_is_spoken(developer, version):
    asked = INITIALIZE | {"params": INITIALIZE["params"] | {"protocolVersion": version}}
    answer = developer.post("/mcp", json=asked, headers={"accept": "application/json"})
    assert answer.json()["result"]["protocolVersion"] == version


def test_whoever_reads_json_alone_gets_json(developer):
    answer = developer.post("/mcp", json=SEARCH, headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["structuredContent"]["results"]


def test_whoever_reads_streams_gets_one(developer):
    both = {"accept": "application/json, text/event-stream"}
    answer = developer.post("/mcp", json=SEARCH, headers=both)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "Fictional page" in answer.text


def test_a_call_is_in_the_ledger_once_at_its_price(developer):
    call(developer, "search", query="prices", search_depth="advanced")
    (entry,) = entries_of(developer.apikey, 1)
    assert (entry.model_answered, entry.cost_nanousd) == ("tavily-search", 16_000_000)
    assert (entry.status, entry.upstream, entry.cache) == ("completed", "tavily", "bypass")


def test_the_same_call_again_comes_from_the_cache_for_a_tenth(a_developer):
    developer = a_developer(rpm=None, cache_enabled=True)
    first = call(developer, "search", query="again")
    again = call(developer, "search", query="again")
    assert first.structured_content["results"] == again.structured_content["results"]
    made, kept = entries_of(developer.apikey, 2)
    assert [made.cost_nanousd, kept.cost_nanousd] == [8_000_000, 800_000]
    assert (kept.cache, kept.cache_source) == ("hit", made.request_id)


@pytest.mark.parametrize(
    ("mark", "said", "status", "cost_nanousd"),
    [
        ("status=500", "Tavily failed with status 500", "upstream_error", 0),
        ("status=401", "The gateway's Tavily account was refused.", "upstream_error", 0),
        ("status=432", "has used up its credits", "upstream_error", 0),
        ("status=400 message=odd", "Tavily refused the call: odd", "upstream_error", 0),
        ("slow seconds=20", "did not answer within 2 seconds", "upstream_error", 8_000_000),
        ("large=9000", "Tavily's answer is over 8 MiB", "upstream_error", 8_000_000),
    ],
)
def test_trouble_at_tavily_is_told_and_recorded(developer, mark, said, status, cost_nanousd):
    result = call(developer, "search", query=f"owls [[sim:{mark}]]")
    assert result.is_error
    assert said in result.content[0].text
    (entry,) = entries_of(developer.apikey, 1)
    assert (entry.status, entry.cost_nanousd) == (status, cost_nanousd)


def test_a_long_result_is_cut_and_says_so(developer):
    result = call(developer, "search", query="owls [[sim:large=4000]]")
    assert result.structured_content["truncated"]
    assert len(json.dumps(result.structured_content)) < 120_000


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("search", {}, "'query' is a required property"),
        ("search", {"query": "a", "max_results": 50}, "50 is greater than the maximum of 20"),
        ("extract", {"urls": ["file:///etc/passwd"]}, "http:// or https://"),
        ("crawl", {"url": "a.example", "odd": 1}, "'odd' was unexpected"),
        ("nothing", {}, "There is no tool nothing"),
    ],
)
def test_wrong_arguments_are_explained_and_cost_nothing(developer, name, arguments, said):
    result = call(developer, name, **arguments)
    assert result.is_error
    assert said in result.content[0].text


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"unit": Unit.NANOUSD, "limit": 0}, "USD budget exceeded"),
        ({"unit": Unit.TOKENS, "limit": 0}, "Token budget exceeded"),
        ({"unit": Unit.NANOUSD, "limit": 1000, "strict": True}, "more than all that this key"),
    ],
)
def test_a_spent_budget_is_told(developer, budget, said):
    a_budget(developer.apikey, **budget)
    result = call(developer, "search", query="owls")
    assert result.is_error
    assert said in result.content[0].text


def test_the_rate_limit_counts_calls_of_tools(a_developer):
    developer = a_developer(rpm=1)
    call(developer, "search", query="owls")
    assert "may make 1 requests a minute" in call(developer, "map", url="a.example").content[0].text
    assert len(entries_of(developer.apikey, 1)) == 1


def test_the_daily_bound_is_the_keys_own(developer):
    ToolRule.objects.create(apikey=developer.apikey, calls_per_day=1)
    assert not call(developer, "search", query="owls").is_error
    assert (
        "1 calls of web tools in 24 hours"
        in call(developer, "search", query="owls").content[0].text
    )
    assert developer.ask().status_code == 200


def test_tools_that_are_switched_off_say_so(developer):
    ToolRule.objects.create(apikey=developer.apikey, enabled=False)
    result = call(developer, "search", query="owls")
    assert "switched off for this API key" in result.content[0].text
    assert not call(developer, "key_status").structured_content["web_tools"]["enabled"]


@pytest.mark.parametrize("key", ["", "sk-cc-nonsense"])
def test_a_wrong_key_is_refused(developer, http, key):
    headers = {"x-api-key": key}
    answer = http.post(developer.base_url + "/mcp", json=INITIALIZE, headers=headers)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (401, "false")
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_is_refused(developer):
    apikey_revoke(apikey=developer.apikey, acting_user=None)
    answer = developer.post("/mcp", json=INITIALIZE)
    assert "was revoked" in answer.json()["error"]["message"]


def test_a_name_that_is_not_ours_is_refused(developer):
    answer = developer.post("/mcp", json=INITIALIZE, headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "CLAUDCODE_ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_a_page_of_another_name_is_refused(developer):
    answer = developer.post("/mcp", json=INITIALIZE, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_there_are_no_sessions_to_listen_to(developer):
    answer = developer.get("/mcp")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
