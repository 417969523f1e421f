"""What people do with the official SDKs, with each of them; every path under both base URLs."""

from dataclasses import replace

import pytest

from keys.models import ClaudeModel
from tests.acceptance.developer import a_question
from tests.acceptance.installation import ledger_entry

WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize("credential", ["api_key", "auth_token"])
def test_a_message_arrives_with_the_key_given_either_way(sdk, base_url, developer, credential):
    client = sdk.client(base_url, **{credential: developer.secret})
    message = client.create(**a_question("[[sim:say=Hello]]"))
    assert message["content"][0]["text"] == "Hello"
    assert message["usage"]["output_tokens"] == 1


@pytest.mark.parametrize("credential", ["api_key", "auth_token"])
def test_a_stream_arrives_with_the_key_given_either_way(sdk, base_url, developer, credential):
    client = sdk.client(base_url, **{credential: developer.secret})
    message = client.stream(**a_question("[[sim:tokens=30]]"))
    assert message["streamed_text"] == message["content"][0]["text"] != ""
    assert message["usage"]["output_tokens"] == 30


def test_the_events_of_a_stream_come_in_order(client):
    events = client.events(**a_question("[[sim:tokens=2]]"))
    assert [event["type"] for event in events if event["type"] != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("way", ["create", "stream"])
def test_thinking_comes_before_the_text(client, way):
    asked = a_question("Why?", max_tokens=2048, thinking=THINKING)
    thinking, text = getattr(client, way)(**asked)["content"]
    assert thinking["thinking"]
    assert thinking["signature"]
    assert text["type"] == "text"


@pytest.mark.parametrize("way", ["create", "stream"])
def test_a_tool_is_called_and_its_result_answered(client, way):
    ask = getattr(client, way)
    question = a_question("""[[sim:tool=weather input='{"city":"Oslo"}']]""", tools=[WEATHER])
    called = ask(**question)
    call = called["content"][-1]
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "Snow"}
    question["messages"] += [
        {"role": "assistant", "content": [_sent_back(block) for block in called["content"]]},
        {"role": "user", "content": [result]},
    ]
    answered = ask(**question)
    assert called["stop_reason"] == "tool_use"
    assert (call["name"], call["input"]) == ("weather", {"city": "Oslo"})
    assert answered["stop_reason"] == "end_turn"


@pytest.mark.parametrize("way", ["create", "stream"])
@pytest.mark.parametrize(
    ("stop_reason", "prompt", "fields"),
    [
        pytest.param("end_turn", "Hello!", {}, id="end_turn"),
        pytest.param("max_tokens", "Hello!", {"max_tokens": 3}, id="max_tokens"),
        pytest.param(
            "stop_sequence",
            '[[sim:say="one two three"]]',
            {"stop_sequences": ["two"]},
            id="stop_sequence",
        ),
        pytest.param("refusal", "[[sim:refusal]]", {}, id="refusal"),
    ],
)
def test_the_reason_to_stop_arrives(client, way, stop_reason, prompt, fields):
    message = getattr(client, way)(**a_question(prompt, **fields))
    assert message["stop_reason"] == stop_reason


def test_counted_tokens_are_those_then_used(sdk, base_url, developer):
    client = sdk.client(base_url, developer.secret)
    question = a_question("How many tokens are these?")
    message = client.create(**question)
    del question["max_tokens"]
    assert client.count_tokens(**question) == message["usage"]["input_tokens"]


def test_all_models_are_listed_page_by_page(sdk, base_url, developer):
    client = sdk.client(base_url, developer.secret)
    known = ClaudeModel.objects.filter(enabled=True).values_list("model_id", flat=True)
    assert sorted(client.models(limit=1)) == sorted(known)


def test_one_model_is_described(sdk, base_url, developer):
    client = sdk.client(base_url, developer.secret)
    model = client.model("claude-sonnet-4-6")
    assert (model["id"], model["type"]) == ("claude-sonnet-4-6", "model")
    assert model["display_name"] == "Claude Sonnet 4.6"
    assert model["max_tokens"] == 128_000


@pytest.mark.parametrize("way", ["create", "stream"])
def test_a_beta_reaches_the_upstream(client, way):
    question = a_question("[[sim:echo=headers]]", betas=["context-management-2025-06-27"])
    message = getattr(replace(client, beta=True), way)(**question)
    assert "context-management-2025-06-27" in message["content"][0]["text"]


@pytest.mark.parametrize("credential", ["api_key", "auth_token"])
def test_the_key_does_not_reach_the_upstream(sdk, gateway, developer, credential):
    client = sdk.client(gateway.url, **{credential: developer.secret})
    message = client.create(**a_question("[[sim:echo=headers]]"))
    assert developer.secret not in message["content"][0]["text"]


def test_the_id_that_the_sdk_shows_leads_to_the_ledger(sdk, gateway, developer):
    client = sdk.client(gateway.url, developer.secret)
    message = client.create(**a_question())
    entry = ledger_entry(message["request_id"])
    assert entry.apikey_id == developer.apikey.pk
    assert entry.output_tokens == message["usage"]["output_tokens"]
    assert entry.cost_nanousd > 0


def _sent_back(block: dict) -> dict:
    """What of an answer's block may be part of a question."""
    allowed = {"type", "text", "id", "name", "input"}
    return {name: value for name, value in block.items() if name in allowed}
