"""What reaches upstream: the body byte for byte, the client's headers, and none of its secrets."""

import hashlib
import json

import pytest

from tests.acceptance.developer import a_question
from tests.acceptance.gateway_process import UPSTREAM_CREDENTIAL

PARTS = {
    "blanks": '{ "model" : "claude-haiku-4-5",\n\t"max_tokens":  99 , "messages":[%s] }\r\n',
    "unknown fields": '{"model":"claude-haiku-4-5","max_tokens":99,"brand_new":{"a":[1,2]},'
    '"messages":[%s]}',
    "escapes": '{"model":"claude-haiku-4-5","max_tokens":99,'
    '"metadata":{"user_id":"\\u00e9\\/\\ud83d\\ude00"},"messages":[%s]}',
    "numbers": '{"model":"claude-haiku-4-5","max_tokens":99,"temperature":0.10000,"messages":[%s]}',
    "a system message": '{"model":"claude-haiku-4-5","max_tokens":99,'
    '"messages":[{"role":"system","content":"Be brief."},%s]}',
    "a model named deeper": '{"model":"claude-haiku-4-5","max_tokens":99,'
    '"metadata":{"model":"x","max_tokens":true},"messages":[%s]}',
}
ECHO = '{"role":"user","content":"Grüße [[sim:echo=body-sha256]]"}'


def text(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["content"][0]["text"]


def seen(developer, path="/v1/messages", headers=None, **fields):
    """What upstream saw of a request: its method, path, query and headers."""
    question = a_question("[[sim:echo=request]]", max_tokens=8000, **fields)
    return json.loads(text(developer.post(path, json=question, headers=headers or {})))


@pytest.mark.parametrize("body", PARTS.values(), ids=PARTS.keys())
def test_the_body_goes_upstream_byte_for_byte(developer, body):
    raw = (body % ECHO).encode()
    headers = {"content-type": "application/json", "anthropic-beta": "anything-2030-01-01"}
    answer = developer.post("/v1/messages", content=raw, headers=headers)
    assert text(answer) == hashlib.sha256(raw).hexdigest()


def test_a_large_body_goes_upstream_byte_for_byte(developer):
    padding = "0123456789abcdef" * (31 * 1024 * 1024 // 16)
    question = a_question("[[sim:echo=body-sha256]]", metadata={"user_id": padding})
    raw = json.dumps(question).encode()
    answer = developer.post("/v1/messages", content=raw)
    assert text(answer) == hashlib.sha256(raw).hexdigest()


def test_a_chunked_body_goes_upstream_byte_for_byte(developer):
    raw = json.dumps(a_question("[[sim:echo=body-sha256]]")).encode()
    chunks = (raw[start : start + 7] for start in range(0, len(raw), 7))
    assert text(developer.post("/v1/messages", content=chunks)) == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        pytest.param({}, "2023-06-01", id="none"),
        pytest.param({"anthropic-version": "2023-06-01"}, "2023-06-01", id="the old"),
        pytest.param({"anthropic-version": "2026-10-21"}, "2026-10-21", id="the new"),
    ],
)
def test_the_version_is_forwarded_verbatim(developer, sent, forwarded):
    assert seen(developer, headers=sent)["headers"]["anthropic-version"] == forwarded


def test_an_unknown_version_is_upstreams_to_refuse(developer):
    headers = {"anthropic-version": "1999-12-31"}
    answer = developer.post("/v1/messages", json=a_question(), headers=headers)
    assert answer.status_code == 400
    assert '"1999-12-31" is not a valid version' in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["", "beta=true", "beta=true&beta=false", "a=%2Fb%20c&d=e+f&flag", "x=%C3%BC"]
)
def test_the_query_is_forwarded_verbatim(developer, query):
    assert seen(developer, f"/v1/v1/messages?{query}")["query"] == query


def test_upstream_is_asked_for_the_plain_path(developer):
    found = seen(developer, "/v1/v1/messages?beta=true")
    assert (found["method"], found["path"]) == ("POST", "/v1/messages")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("anthropic-something-new", "yes"),
        ("user-agent", "claude-cli/2.1.330 (external, cli)"),
        ("x-app", "cli"),
        ("x-claude-code-session-id", "0f1e2d3c"),
        ("x-stainless-retry-count", "1"),
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "application/json"),
    ],
)
def test_headers_of_the_client_are_forwarded(developer, name, value):
    assert seen(developer, headers={name: value})["headers"][name] == value


def test_repeated_headers_are_all_forwarded(developer):
    question = a_question("[[sim:echo=headers]]", max_tokens=8000)
    url = f"{developer.base_url}/v1/messages"
    headers = [*developer.headers.items(), ("anthropic-beta", "one"), ("anthropic-beta", "two")]
    answer = developer.http.post(url, json=question, headers=headers)
    assert json.loads(text(answer))["anthropic-beta"] == "one, two"


@pytest.mark.parametrize(
    "name",
    [
        *("cookie", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"),
        *("te", "keep-alive", "proxy-authorization", "upgrade", "x-no-cache", "x-tavily-api-key"),
    ],
)
def test_what_is_private_or_for_this_hop_stays_here(developer, name):
    assert name not in seen(developer, headers={name: "secret"})["headers"]


def test_what_connection_names_stays_here(developer):
    headers = {"connection": "close, x-hop", "x-hop": "1"}
    assert "x-hop" not in seen(developer, headers=headers)["headers"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="the key in x-api-key"),
        pytest.param({"authorization": "Bearer sk-cc-another"}, id="and a second key"),
        pytest.param({"cookie": "session=KEY"}, id="and a cookie"),
    ],
)
def test_upstream_sees_the_gateways_credential_and_no_key_of_ours(developer, headers):
    found = seen(developer, headers=headers)
    assert found["headers"]["x-api-key"] == UPSTREAM_CREDENTIAL
    assert "authorization" not in found["headers"]
    assert "sk-cc-" not in json.dumps(found)


def test_counting_sees_the_same_headers(developer, simulator):
    raw = json.dumps(a_question("How many?"), indent=1).encode()
    headers = {"x-exchange-id": "counted-once", "anthropic-beta": "token-counting-2024-11-01"}
    answer = developer.post("/v1/messages/count_tokens?beta=true", content=raw, headers=headers)
    assert answer.status_code == 200
    entry = simulator.wait_for_entry(
        lambda entry: entry["headers"].get("x-exchange-id") == "counted-once"
    )
    assert entry["body_sha256"] == hashlib.sha256(raw).hexdigest()
    assert (entry["query"], entry["credential_last_four"]) == (
        "beta=true",
        UPSTREAM_CREDENTIAL[-4:],
    )
    assert entry["headers"]["anthropic-version"] == "2023-06-01"
    assert entry["headers"]["anthropic-beta"] == "token-counting-2024-11-01"
