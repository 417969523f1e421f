"""Web tools inside Messages: one answer of several rounds, streamed and not, and its ledger."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from anthropic import Anthropic

from keys.services import apikey_revoke
from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess
from tests.acceptance.webtools.conftest import entries_of
from tests.factories import a_spec
from tests.waiting import wait_until
from webtools.models import ToolRule

WEB = {"x-claudcode-tools": "web"}
ANSWERED = "Fictional page 1 about owls"


@pytest.fixture(scope="module")
def gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    """One that is patient with Tavily, for tools that are left in their middle."""
    url = shared_simulator.url
    with GatewayProcess(shared_installation, url, TAVILY_STAND_IN_URL=url) as gateway:
        yield gateway


def searching(rounds: int = 1, count: int = 1, query: str = "owls") -> str:
    """A prompt at which the simulator searches in so many rounds before it answers."""
    wanted = json.dumps({"query": query})
    return f"[[sim:tool=web_search rounds={rounds} count={count} input='{wanted}']] Owls?"


def ask(
    developer: Developer, prompt: str, *, asking: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    question = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": prompt}],
    }
    return developer.post("/v1/messages", json=question | fields, headers=WEB | (asking or {}))


def events_of(text: str) -> list[dict[str, Any]]:
    frames = [frame for frame in text.split("\n\n") if frame]
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in frames]


def text_of(message: dict[str, Any]) -> str:
    return " ".join(block["text"] for block in message["content"] if block["type"] == "text")


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_claude_asks_for_is_run_and_the_answer_is_one(a_developer, rounds):
    developer = a_developer()
    answer = ask(developer, searching(rounds, count=2))
    message = answer.json()
    assert answer.status_code == 200, message
    assert ANSWERED in text_of(message)
    assert {block["type"] for block in message["content"]} == {"text"}
    assert message["stop_reason"] == "end_turn"
    about = message["claudcode"]
    assert about["rounds"] == rounds + 1
    assert [one["name"] for one in about["tools"]] == ["web_search"] * 2 * rounds
    entries = entries_of(developer.apikey, 1 + 3 * rounds)
    assert len(entries) == 1 + 3 * rounds
    asked = [entry for entry in entries if entry.model_requested == "claude-sonnet-4-6"]
    ran = [entry for entry in entries if entry.model_requested == "tavily-search"]
    assert (len(asked), len(ran)) == (rounds + 1, 2 * rounds)
    assert asked[0].request_id == answer.headers["request-id"]
    assert {entry.request_id for entry in ran} == {one["request_id"] for one in about["tools"]}
    assert message["usage"]["output_tokens"] == sum(entry.output_tokens for entry in asked)
    assert message["usage"]["input_tokens"] == sum(entry.input_tokens for entry in asked)
    assert {entry.status for entry in entries} == {"completed"}


def test_a_stream_is_one_message(a_developer):
    developer = a_developer()
    prompt = "[[sim:thinking=20 rounds=3]]" + searching(2)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(developer, prompt, stream=True, max_tokens=4000, thinking=thinking)
    events = events_of(answer.text)
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert (kinds.count("message_start"), kinds.count("message_delta")) == (1, 1)
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [start["index"] for start in starts] == list(range(6))
    blocks = [start["content_block"]["type"] for start in starts]
    assert blocks == ["thinking", "text"] * 3
    assert events[-2]["claudcode"]["rounds"] == 3
    entries = entries_of(developer.apikey, 5)
    assert events[-2]["usage"]["output_tokens"] == sum(entry.output_tokens for entry in entries)


def test_the_official_sdk_takes_both_forms(a_developer):
    developer = a_developer()
    sdk = Anthropic(api_key=developer.secret, base_url=developer.base_url, default_headers=WEB)
    question: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": searching()}],
    }
    with sdk:
        message = sdk.messages.create(**question)
        with sdk.messages.stream(**question) as stream:
            said = "".join(stream.text_stream)
            final = stream.get_final_message()
    assert ANSWERED in message.content[0].text
    assert ANSWERED in said
    assert final.usage.output_tokens == message.usage.output_tokens


def test_claude_may_do_without(a_developer):
    developer = a_developer()
    message = ask(developer, "Hello!").json()
    assert message["claudcode"] == {"rounds": 1, "tools": []}
    assert len(entries_of(developer.apikey, 1)) == 1


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({}, {"x-claudcode-tools": "off"}),
        ({"tools": [{"name": "mine", "input_schema": {"type": "object"}}]}, WEB),
    ],
)
def test_other_requests_are_as_they_were(a_developer, fields, headers):
    developer = a_developer()
    question = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "[[sim:echo body-sha256]]"}],
    }
    answer = developer.post("/v1/messages", json=question | fields, headers=headers)
    assert "claudcode" not in answer.json()


def test_an_open_session_brings_tools(a_developer):
    developer = a_developer()
    session = developer.post("/mcp/session").json()
    question = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": searching()}],
    }

    def brought() -> bool:
        return "claudcode" in developer.post("/v1/messages", json=question).json()

    wait_until(brought)
    developer.send("DELETE", f"/mcp/session/{session['session_id']}")
    wait_until(lambda: not brought())


def test_an_operator_may_give_tools_to_every_message(a_developer):
    developer, other = a_developer(), a_developer()
    ToolRule.objects.create(apikey=developer.apikey, always=True)

    def brought(to: Developer, **headers: str) -> bool:
        question = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "Hello!"}],
        }
        return "claudcode" in to.post("/v1/messages", json=question, headers=headers).json()

    wait_until(lambda: brought(developer))
    assert not brought(developer, **{"x-claudcode-tools": "off"})
    assert not brought(other)


def test_a_tool_that_fails_is_told_to_claude(a_developer):
    developer = a_developer()
    message = ask(developer, searching(query="owls [[sim:status=500 message=Broken]]")).json()
    assert "Tavily failed with status 500" in text_of(message)
    assert "Tavily failed" in message["claudcode"]["tools"][0]["error"]


def test_nonsense_in_a_call_is_told_to_claude(a_developer):
    message = ask(a_developer(), "[[sim:tool=web_search rounds=1 input='{\"query\": 7}']]").json()
    assert "query must be text" in text_of(message)


def test_rounds_have_an_end(a_developer):
    message = ask(a_developer(rpm=None), searching(rounds=50)).json()
    assert message["claudcode"]["rounds"] == 6
    assert message["stop_reason"] == "end_turn"


def test_a_client_that_leaves_in_the_middle_of_a_tool(a_developer):
    developer = a_developer()
    slow = searching(query="owls [[sim:slow seconds=15]]")
    question = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "stream": True,
        "messages": [{"role": "user", "content": slow}],
    }
    url = f"{developer.base_url}/v1/messages"
    with developer.http.stream(
        "POST", url, json=question, headers=developer.headers | WEB
    ) as answer:
        lines = answer.iter_lines()  # Let go of, it would hang up.
        next(line for line in lines if "content_block_delta" in line)
        entries_of(developer.apikey, 1)  # The first round has ended, and freed its slot.
        wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 1, 10)
    entries = entries_of(developer.apikey, 2)
    assert sorted(entry.status for entry in entries) == ["completed", "hung_up"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_budget_that_is_spent_between_rounds_ends_the_answer(a_developer, streamed):
    developer = a_developer(budgets=[a_spec(limit=120)])
    prompt = "[[sim:tokens=200]]" + searching()
    answer = ask(developer, prompt, stream=streamed)
    entries = entries_of(developer.apikey, 1)
    claude = [entry for entry in entries if entry.model_requested == "claude-sonnet-4-6"]
    assert len(claude) == 1
    assert claude[0].charged_tokens > 120
    if streamed:
        last = events_of(answer.text)[-1]
        assert last["error"]["type"] == "rate_limit_error"
    else:
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0


def test_a_key_that_is_revoked_between_rounds_ends_the_answer(a_developer):
    developer = a_developer()
    answers = []
    slow = searching(query="owls [[sim:slow seconds=5]]")
    asking = threading.Thread(target=lambda: answers.append(ask(developer, slow)))
    asking.start()
    entries_of(developer.apikey, 1)
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 1)
    apikey_revoke(apikey=developer.apikey, acting_user=None)
    asking.join()
    assert answers[0].status_code == 401


def test_an_upstream_that_refuses_is_passed_on(a_developer):
    answer = ask(a_developer(), "[[sim:status=400 message=Nonsense]]")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Nonsense")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_upstream_that_breaks_off_is_told(a_developer, streamed):
    answer = ask(a_developer(), "[[sim:cut after=5]]", stream=streamed)
    if streamed:
        assert events_of(answer.text)[-1]["type"] == "error"
    else:
        assert answer.status_code == 502


def test_a_key_without_web_tools_is_told(a_developer):
    developer = a_developer()
    ToolRule.objects.create(apikey=developer.apikey, enabled=False)
    answer = ask(developer, "Hello!")
    assert answer.status_code == 403
    assert "switched off" in answer.json()["error"]["message"]


def test_an_unknown_wish_is_refused(a_developer):
    answer = a_developer().post(
        "/v1/messages", json={"model": "m"}, headers={"x-claudcode-tools": "everything"}
    )
    assert answer.status_code == 400


def test_tools_ask_anew_where_the_client_wants_no_stored_answer(a_developer):
    developer = a_developer(cache_enabled=True)
    prompt = searching(query="owls of the night, asked once more")
    wanted = [{}, {}, {"x-no-cache": "true"}]
    answers = [ask(developer, prompt, asking=asking).json() for asking in wanted]
    assert [said["claudcode"]["tools"][0]["cached"] for said in answers] == [False, True, False]


@pytest.mark.parametrize("path", ["/v1/messages", "/tavily/search", "/mcp"])
def test_a_tavily_key_that_cannot_be_one_is_a_bad_request_everywhere(a_developer, path):
    odd = {"x-tavily-api-key": "tvly-\xe9".encode("latin-1")}
    headers = {name: value.encode() for name, value in WEB.items()} | odd
    question = {"model": "claude-sonnet-4-6", "max_tokens": 5, "messages": []}
    answer = a_developer().post(path, json=question, headers=headers)
    assert answer.status_code == 400, answer.text
    assert "a character that no key has" in answer.text
