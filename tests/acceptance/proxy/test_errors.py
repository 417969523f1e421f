"""Every row of the wire contract's table of errors, but those of limits and of stores."""

import re

import httpx
import pytest

from tests.acceptance.developer import a_question

QUESTION = a_question()


def without(*names):
    return {name: value for name, value in QUESTION.items() if name not in names}


def error(answer, status, kind):
    """The message of an answer that is this error, in the shape that all errors have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == answer.headers["request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", body["request_id"])
    return body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "not valid JSON", id="nothing"),
        pytest.param(b"hello", "not valid JSON", id="not JSON"),
        pytest.param(b'{"model":', "not valid JSON", id="cut short"),
        pytest.param(b"\xff\xfe{}", "not valid JSON", id="not UTF-8"),
        pytest.param(b"{'model': 1}", "not valid JSON", id="single quotes"),
        pytest.param(b"[" * 100_000, "not valid JSON", id="too deep"),
        pytest.param(b"[]", "must be a JSON object", id="a list"),
        pytest.param(b'"hello"', "must be a JSON object", id="a string"),
        pytest.param(b"null", "must be a JSON object", id="null"),
        pytest.param(b"{}", "messages: Field required", id="an empty object"),
    ],
)
def test_400_for_what_is_no_json_object(developer, body, message):
    answer = developer.post("/v1/messages", content=body)
    assert message in error(answer, 400, "invalid_request_error")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(without("model"), "model: Field required", id="no model"),
        pytest.param(QUESTION | {"model": None}, "model:", id="model null"),
        pytest.param(QUESTION | {"model": 7}, "model:", id="model a number"),
        pytest.param(QUESTION | {"model": ["claude-haiku-4-5"]}, "model:", id="model a list"),
        pytest.param(QUESTION | {"model": ""}, "model:", id="model empty"),
        pytest.param(QUESTION | {"model": "m" * 300}, "model:", id="model endless"),
        pytest.param(without("messages"), "messages: Field required", id="no messages"),
        pytest.param(QUESTION | {"messages": None}, "messages:", id="messages null"),
        pytest.param(QUESTION | {"messages": {}}, "messages:", id="messages an object"),
        pytest.param(QUESTION | {"messages": "hi"}, "messages:", id="messages a string"),
        pytest.param(without("max_tokens"), "max_tokens: Field required", id="no max_tokens"),
        pytest.param(QUESTION | {"max_tokens": None}, "max_tokens:", id="max_tokens null"),
        pytest.param(QUESTION | {"max_tokens": "9"}, "max_tokens:", id="max_tokens a string"),
        pytest.param(QUESTION | {"max_tokens": 9.5}, "max_tokens:", id="max_tokens a fraction"),
        pytest.param(QUESTION | {"max_tokens": True}, "max_tokens:", id="max_tokens true"),
        pytest.param(QUESTION | {"max_tokens": -1}, "max_tokens:", id="max_tokens negative"),
        pytest.param(QUESTION | {"max_tokens": 10**30}, "max_tokens:", id="max_tokens endless"),
        pytest.param(QUESTION | {"stream": "yes"}, "stream:", id="stream a string"),
        pytest.param(QUESTION | {"stream": 1}, "stream:", id="stream a number"),
    ],
)
def test_400_for_fields_missing_or_of_the_wrong_type(developer, body, message):
    answer = developer.post("/v1/messages", json=body)
    assert error(answer, 400, "invalid_request_error").startswith(message)


@pytest.mark.parametrize(
    "twice",
    [
        pytest.param(b'"model":"claude-haiku-4-5"', id="model"),
        pytest.param(b'"max_tokens":9', id="max_tokens"),
        pytest.param(b'"mod\\u0065l":"claude-haiku-4-5"', id="an escaped model"),
        pytest.param(b'"max\\u005ftokens":9', id="an escaped max_tokens"),
        pytest.param(b'"max\\u005Ftokens":9', id="escaped in capitals"),
    ],
)
def test_400_for_a_decisive_field_given_twice(developer, twice):
    once = b'"model":"claude-haiku-4-5","max_tokens":9,"stream":false,"messages":[]'
    answer = developer.post("/v1/messages", content=b"{%b,%b}" % (once, twice))
    assert "given more than once" in error(answer, 400, "invalid_request_error")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"hello", "not valid JSON", id="not JSON"),
        pytest.param(b"[]", "must be a JSON object", id="a list"),
        pytest.param(b'{"messages":[]}', "model: Field required", id="no model"),
        pytest.param(b'{"model":"claude-haiku-4-5"}', "messages: Field required", id="no messages"),
    ],
)
def test_400_for_counting_something_else(developer, body, message):
    answer = developer.post("/v1/messages/count_tokens", content=body)
    assert message in error(answer, 400, "invalid_request_error")


def test_400_for_a_compressed_body(developer):
    answer = developer.post("/v1/messages", content=b"x", headers={"content-encoding": "gzip"})
    assert "Compressed" in error(answer, 400, "invalid_request_error")


def test_401_without_a_key(gateway):
    answer = httpx.post(f"{gateway.url}/v1/messages", json=QUESTION)
    assert "x-api-key" in error(answer, 401, "authentication_error")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("models", "model"),
    [
        pytest.param([], "claude-nobody-1", id="not in the catalogue"),
        pytest.param([], "claude-haiku-4-5-2025", id="not quite a dated id"),
        pytest.param(["claude-opus-4-6"], "claude-haiku-4-5", id="not allowed to the key"),
        pytest.param(["claude-opus-*"], "claude-haiku-4-5", id="not in its pattern"),
    ],
)
def test_403_for_a_model_the_key_has_no_access_to(a_developer, path, models, model):
    answer = a_developer(models=models).post(path, json=QUESTION | {"model": model})
    assert model in error(answer, 403, "permission_error")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"fallbacks": [{"model": "claude-opus-4-6"}]}, id="as a fallback"),
        pytest.param({"fallbacks": "default"}, id="as a fallback of upstream's choice"),
        pytest.param(
            {
                "tools": [
                    {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-6"}
                ]
            },
            id="as an adviser",
        ),
    ],
)
def test_403_for_a_model_that_is_asked_beside(a_developer, fields):
    answer = a_developer(models=["claude-haiku-4-5"]).post("/v1/messages", json=QUESTION | fields)
    error(answer, 403, "permission_error")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing", "/v1"])
def test_404_for_no_such_path(developer, path):
    assert path in error(developer.post(path), 404, "not_found_error")


def test_404_for_no_such_model(developer):
    answer = developer.get("/v1/models/claude-nobody-1")
    assert "claude-nobody-1" in error(answer, 404, "not_found_error")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/messages", "POST"),
        ("PUT", "/v1/messages", "POST"),
        ("DELETE", "/v1/v1/messages", "POST"),
        ("OPTIONS", "/v1/messages", "POST"),
        ("GET", "/v1/messages/count_tokens", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/claude-haiku-4-5", "GET"),
        ("POST", "/v1/key-status", "GET"),
    ],
)
def test_405_for_another_method(developer, method, path, allow):
    answer = developer.send(method, path)
    assert method in error(answer, 405, "invalid_request_error")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@pytest.mark.parametrize("streamed", [False, True])
def test_upstreams_word_about_the_request_comes_back_unmodified(developer, status, streamed):
    word = "{`type`:  `error`, `error`: {`type`: `x`, `message`: `prompt is too long`}}"
    prompt = f"[[sim:status={status} raw='{word}']]"
    answer = developer.ask(prompt, stream=streamed)
    assert (answer.status_code, answer.text) == (status, word)


def test_upstreams_own_error_comes_back_with_the_gateways_request_id(developer):
    answer = developer.ask(temperature=7)
    assert answer.json()["error"]["message"] == "temperature: range: 0..1"
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["request-id"])
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "mark",
    [
        pytest.param("status=401", id="its key is bad"),
        pytest.param("status=402", id="its account is out of money, 402"),
        pytest.param(
            "status=400 message='Your credit balance is too low to access the Anthropic API.'",
            id="its account is out of money, 400",
        ),
        pytest.param(
            "status=400 message='You have reached your specified API usage limits.'",
            id="its account has reached its own limit",
        ),
        pytest.param("status=403", id="its key may not"),
        pytest.param("status=500", id="upstream failed"),
        pytest.param("status=502", id="its gateway failed"),
        pytest.param("status=503", id="upstream is closed"),
        pytest.param("status=504", id="upstream timed out"),
        pytest.param("status=500 raw='<html>no</html>'", id="a page"),
        pytest.param("cut after=0", id="it closed the connection"),
    ],
)
def test_502_for_upstream_trouble_that_is_the_gateways(developer, mark, streamed):
    answer = developer.ask(f"[[sim:{mark}]]", stream=streamed)
    message = error(answer, 502, "api_error")
    assert "credit" not in message
    assert "x-should-retry" not in answer.headers


@pytest.mark.usefixtures("awake")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("mark", "retry_after"),
    [
        pytest.param("status=429", "1", id="rate limited"),
        pytest.param("status=429 retry-after=17", "17", id="rate limited for a while"),
        pytest.param("status=429 retry-after=none", "5", id="rate limited, no word for how long"),
        pytest.param("status=529", "5", id="overloaded"),
        pytest.param("status=529 retry-after=3", "3", id="overloaded for a while"),
    ],
)
def test_529_while_upstream_is_overloaded_or_rate_limited(developer, mark, retry_after, streamed):
    answer = developer.ask(f"[[sim:{mark}]]", stream=streamed)
    assert "overloaded" in error(answer, 529, "overloaded_error")
    assert answer.headers["retry-after"] == retry_after
    assert "x-should-retry" not in answer.headers


@pytest.mark.usefixtures("awake")
@pytest.mark.parametrize(
    ("status", "answered", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 502, "api_error"),
        (500, 502, "api_error"),
        (429, 529, "overloaded_error"),
    ],
)
def test_counting_translates_upstreams_errors_too(developer, status, answered, kind):
    question = a_question(f"[[sim:status={status}]]")
    answer = developer.post("/v1/messages/count_tokens", json=question)
    assert (answer.status_code, answer.json()["error"]["type"]) == (answered, kind)
