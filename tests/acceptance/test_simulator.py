"""The running simulator, as the official SDK and plain HTTP see it."""

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

import aiohttp
import anthropic
import httpx
import pytest

from tests.acceptance.simulator_process import SimulatorProcess

MODEL = "claude-sonnet-4-6"
TOOL = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
OLD_HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


@pytest.fixture
def client(simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key="sk-test", base_url=simulator.url, max_retries=0, timeout=20
    ) as open_client:
        yield open_client


@pytest.fixture
def http(simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, headers=OLD_HEADERS, timeout=20) as open_client:
        yield open_client


def asking(text, **fields):
    return {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": text}],
    } | fields


def connected(simulator):
    address = urlsplit(simulator.url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def request_head(length, more=b""):
    return (
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\n"
        b"anthropic-version: 2023-06-01\r\n%bcontent-length: %d\r\n\r\n" % (more, length)
    )


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


# The SDK


def test_a_message(client):
    message = client.messages.create(**asking("Hello"))
    assert text_of(message).startswith("This answer comes from the simulator")
    assert (message.stop_reason, message.usage.input_tokens) == ("end_turn", 8)


def test_a_stream_adds_up_to_the_message_that_is_not_streamed(client):
    whole = client.messages.create(**asking("Hello"))
    with client.messages.stream(**asking("Hello")) as stream:
        streamed = stream.get_final_message()
    assert text_of(streamed) == text_of(whole)
    assert streamed.usage == whole.usage


async def test_the_asynchronous_client(simulator):
    async with anthropic.AsyncAnthropic(api_key="k", base_url=simulator.url) as client:
        whole = await client.messages.create(**asking("Hello"))
        async with client.messages.stream(**asking("Hello")) as stream:
            streamed = await stream.get_final_message()
    assert text_of(streamed) == text_of(whole)


def test_thinking(client):
    with client.messages.stream(**asking("[[sim:thinking=9]]")) as stream:
        message = stream.get_final_message()
    assert message.content[0].type == "thinking"
    assert message.content[0].signature
    assert message.usage.output_tokens_details.thinking_tokens == 9


def test_a_tool_loop(client):
    first = client.messages.create(**asking("[[sim:tool]]", tools=[TOOL]))
    call = first.content[-1]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    history = [
        {"role": "user", "content": "[[sim:tool]]"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(**asking("", messages=history, tools=[TOOL]))
    assert (first.stop_reason, call.input) == ("tool_use", {"city": "simulated"})
    assert second.stop_reason == "end_turn"


def test_a_streamed_tool_call(client):
    with client.messages.stream(**asking("[[sim:tool]]", tools=[TOOL])) as stream:
        message = stream.get_final_message()
    assert message.content[-1].input == {"city": "simulated"}


def test_counting_agrees_with_answering(client):
    asked = asking("Wie geht's? 你好", tools=[TOOL], system="Be brief.")
    counted = client.messages.count_tokens(
        model=MODEL, messages=asked["messages"], tools=[TOOL], system="Be brief."
    )
    assert counted.input_tokens == client.messages.create(**asked).usage.input_tokens


def test_models(client):
    listed = {model.id for model in client.models.list(limit=2)}
    assert {"claude-opus-4-6", MODEL, "claude-haiku-4-5-20251001"} <= listed
    assert client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (402, anthropic.PaymentRequiredError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (409, anthropic.ConflictError),
        (413, anthropic.ContentTooLargeError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (503, anthropic.ServiceUnavailableError),
        (504, anthropic.GatewayTimeoutError),
        (529, anthropic.OverloadedError),
    ],
)
def test_a_status_raises_its_class(client, status, error):
    with pytest.raises(error) as raised:
        client.messages.create(**asking(f'[[sim:status={status} message="as asked"]]'))
    assert raised.value.api_message == "as asked"
    assert raised.value.request_id.startswith("req_sim")


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError, match="model: claude-9"):
        client.messages.create(**asking("Hello", model="claude-9"))


def test_the_sdk_of_today_may_not_sample(client):
    with pytest.raises(
        anthropic.BadRequestError, match="temperature: Extra inputs are not permitted"
    ):
        client.messages.create(**asking("Hello", extra_body={"temperature": 1.0}))


def test_an_sdk_that_retries_gets_through(simulator, client):
    retrying = client.with_options(max_retries=2)
    message = retrying.messages.create(**asking("[[sim:status=529 times=2 id=retry]]"))
    assert message.stop_reason == "end_turn"


def test_an_error_event_raises(client):
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        client.messages.stream(**asking("[[sim:error after=4]]")) as stream,
    ):
        stream.until_done()


@pytest.mark.parametrize("text", ["[[sim:cut after=0]]", "[[sim:cut after=5]]"])
def test_a_cut_message_is_a_lost_connection(client, text):
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**asking(text))


def test_prompts_are_cached(client):
    document = {
        "type": "text",
        "text": "A long document, read by nobody. " * 300,
        "cache_control": {"type": "ephemeral"},
    }
    usages = [
        client.messages.create(**asking([document, {"type": "text", "text": question}])).usage
        for question in ("Who?", "When?")
    ]
    assert usages[0].cache_creation.ephemeral_5m_input_tokens > 1024
    assert usages[1].cache_read_input_tokens == usages[0].cache_creation_input_tokens
    assert usages[1].cache_creation_input_tokens == 0


# Plain HTTP


def test_the_old_version_may_sample(http):
    assert http.post("/v1/messages", json=asking("Hello", temperature=0.5)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_probes_need_no_key(simulator, path):
    assert httpx.head(simulator.url + path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/v1/messages", 404, "not_found_error"),
        ("GET", "/v1/models/gpt-9", 404, "not_found_error"),
        ("GET", "/v1/models?limit=0", 400, "invalid_request_error"),
    ],
)
def test_other_paths(http, method, path, status, kind):
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_without_a_key_there_is_no_answer(simulator):
    answer = httpx.post(simulator.url + "/v1/messages", json=asking("Hello"))
    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "type": "authentication_error",
        "message": "x-api-key header is required",
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "right"}, 200),
        ({"authorization": "Bearer right"}, 200),
        ({"x-api-key": "wrong"}, 401),
        ({"authorization": "Bearer wrong"}, 401),
    ],
)
def test_a_credential_can_be_demanded(headers, status):
    with SimulatorProcess("--credential", "right") as simulator:
        answer = httpx.get(
            simulator.url + "/v1/models", headers={"anthropic-version": "2023-06-01"} | headers
        )
    assert answer.status_code == status


def test_answers_carry_the_headers_of_an_account(http):
    headers = http.post("/v1/messages", json=asking("Hello")).headers
    assert {
        "request-id",
        "anthropic-organization-id",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-tokens-reset",
        "set-cookie",
    } <= headers.keys()


def test_errors_carry_retry_headers(http):
    headers = http.post("/v1/messages", json=asking("[[sim:status=429 retry-after=7]]")).headers
    assert (headers["retry-after"], headers["x-should-retry"]) == ("7", "true")


def test_a_body_over_32_mb_is_refused_by_its_announced_length(simulator):
    with connected(simulator) as connection:
        connection.sendall(request_head(32 * 1024 * 1024 + 1))
        answer = HTTPResponse(connection, method="POST")
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["type"] == "request_too_large"


def test_a_body_over_32_mb_is_refused_when_its_length_is_hidden(http):
    megabyte = b" " * 1024 * 1024
    answer = http.post("/v1/messages", content=(megabyte for _ in range(33)))
    assert answer.status_code == 413


def test_echo_of_headers_and_body(http):
    body = json.dumps(asking("[[sim:echo body-sha256]]")).encode()
    echoed = http.post("/v1/messages", content=body).json()["content"][0]["text"]
    assert echoed == hashlib.sha256(body).hexdigest()
    answer = http.post("/v1/messages", json=asking("[[sim:echo headers]]"), headers={"x-mine": "1"})
    assert json.loads(answer.json()["content"][0]["text"])["x-mine"] == "1"


def test_an_error_can_be_something_else_than_json(http):
    answer = http.post("/v1/messages", json=asking('[[sim:status=502 raw="<html>"]]'))
    assert (answer.status_code, answer.text) == (502, "<html>")


@pytest.mark.parametrize("stream", [True, False])
def test_answers_can_be_compressed(http, stream):
    answer = http.post("/v1/messages", json=asking("[[sim:gzip]]", stream=stream))
    assert answer.headers["content-encoding"] == "gzip"
    assert '"end_turn"' in answer.text


def test_a_stream_split_into_small_writes_is_the_same_stream(http):
    asked = asking("[[sim:tokens=5]] [[sim:split=7]]", stream=True)
    assert http.post("/v1/messages", json=asked).text.endswith('{"type":"message_stop"}\n\n')


def test_pace(http):
    began = time.monotonic()
    http.post("/v1/messages", json=asking("[[sim:tokens=20]] [[sim:rate=100]]", stream=True))
    assert 0.19 < time.monotonic() - began < 2


def test_slow_headers_and_a_late_first_byte(http):
    began = time.monotonic()
    asked = asking("[[sim:slow seconds=0.2]] [[sim:first-byte-ms=200]]", stream=True)
    with http.stream("POST", "/v1/messages", json=asked) as answer:
        headers_after = time.monotonic() - began
        answer.read()
    assert 0.19 < headers_after < time.monotonic() - began - 0.19


# The books


def test_the_books_hold_what_was_answered(simulator, http):
    body = json.dumps(asking("Hello")).encode()
    answer = http.post("/v1/messages?beta=true", content=body, headers={"x-exchange-id": "e1"})
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == "e1")
    assert entry["usage"] == answer.json()["usage"]
    assert entry["request_id"] == answer.headers["request-id"]
    assert entry["message_id"] == answer.json()["id"]
    assert entry["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert (entry["path"], entry["query"]) == ("/v1/messages", "beta=true")
    assert (entry["status"], entry["finished"], entry["outcome"]) == (200, True, "finished")
    assert entry["credential_last_four"] == "test"


def test_the_books_hold_what_a_cut_stream_had_generated(simulator, http):
    asked = asking("[[sim:tokens=50]] [[sim:cut after=5]]", stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/messages", json=asked, headers={"x-exchange-id": "cut"})
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == "cut")
    # message_start, ping, content_block_start and two tokens.
    assert (entry["outcome"], entry["events"], entry["usage"]["output_tokens"]) == ("cut", 5, 2)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[[sim:rate=10]] [[sim:tokens=1000]]", id="between two tokens"),
        pytest.param("[[sim:stall after=3 seconds=60]]", id="in a stall"),
        pytest.param("[[sim:first-byte-ms=60000]]", id="before the first byte"),
    ],
)
def test_a_client_that_hangs_up_is_noticed_at_once(simulator, http, text, request):
    name = request.node.callspec.id
    asked = asking(text, stream=True)
    with http.stream("POST", "/v1/messages", json=asked, headers={"x-exchange-id": name}):
        hung_up_at_ms = time.time() * 1000
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == name)
    assert entry["outcome"] == "hung_up"
    assert entry["ended_at_ms"] - hung_up_at_ms < 1000
    assert entry["hung_up_after_ms"] == entry["ended_at_ms"] - entry["started_at_ms"]


def test_a_client_that_hangs_up_before_the_headers_is_noticed(simulator, http):
    asked = asking("[[sim:slow seconds=60]]")
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/messages", json=asked, headers={"x-exchange-id": "slow"}, timeout=0.2)
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == "slow")
    assert (entry["outcome"], entry["status"]) == ("hung_up", 0)


def test_a_body_that_never_arrives_whole_is_entered_too(simulator):
    with connected(simulator) as connection:
        connection.sendall(request_head(100, b"x-exchange-id: half\r\n") + b"{")
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == "half")
    assert entry["outcome"] == "hung_up"


async def test_a_thousand_streams_at_once(simulator):
    asked = asking("[[sim:tokens=20]] [[sim:rate=20]]", stream=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=OLD_HEADERS) as client:

        async def one_stream():
            async with client.post(f"{simulator.url}/v1/messages", json=asked) as answer:
                return (await answer.text()).endswith('{"type":"message_stop"}\n\n')

        assert all(await asyncio.gather(*(one_stream() for _ in range(1000))))


def test_reset_empties_the_books():
    with SimulatorProcess() as simulator:
        httpx.get(simulator.url + "/v1/models")
        simulator.reset()
        assert simulator.books()["total"] == 0


def test_flags_choose_the_default_answer():
    with SimulatorProcess("--seed", "7", "--tokens", "12", "--mark", "thinking=3") as simulator:
        answer = httpx.post(
            simulator.url + "/v1/messages", json=asking("Hello"), headers=OLD_HEADERS
        )
    assert answer.json()["usage"]["output_tokens"] == 15
    assert answer.headers["request-id"] == "req_sim00000007" + f"{1:010x}"


def test_a_mark_for_every_request_can_be_used_up():
    with SimulatorProcess("--mark", "status=529 times=1") as simulator:
        url = simulator.url + "/v1/messages"
        statuses = [
            httpx.post(url, json=asking("Hello"), headers=OLD_HEADERS).status_code for _ in range(2)
        ]
    assert statuses == [529, 200]
