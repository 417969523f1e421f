"""Every path of the wire contract answers, under its own name and under its doubled one."""

import httpx
import pytest

from tests.acceptance.developer import a_question, events

DOCUMENTED = ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/v1/messages", "/v1/messages?beta=true"])
def test_messages_are_answered(developer, path):
    answer = developer.post(path, json=a_question("[[sim:say='Good morning']]"))
    assert answer.status_code == 200
    assert answer.json()["content"] == [{"type": "text", "text": "Good morning"}]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/v1/messages"])
def test_messages_are_streamed(developer, path):
    answer = developer.post(path, json=a_question("[[sim:say=Hi]]", stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer) == [
        *("message_start", "ping", "content_block_start", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/v1/messages/count_tokens"])
def test_tokens_are_counted(developer, path):
    question = a_question()
    del question["max_tokens"]
    answer = developer.post(path, json=question)
    assert answer.status_code == 200
    assert answer.json()["input_tokens"] > 0


@pytest.mark.parametrize("path", ["/v1/models", "/v1/v1/models", "/v1/models/", "/v1/models?x=y"])
def test_models_are_listed(developer, path):
    answer = developer.get(path)
    assert answer.status_code == 200
    assert [model["id"] for model in answer.json()["data"]] == DOCUMENTED


@pytest.mark.parametrize("path", ["/v1/models/claude-haiku-4-5", "/v1/v1/models/claude-haiku-4-5"])
def test_a_model_is_shown(developer, path):
    assert developer.get(path).json() == {
        "type": "model",
        "id": "claude-haiku-4-5",
        "display_name": "Claude Haiku 4.5",
        "created_at": "2025-10-15T00:00:00Z",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


@pytest.mark.parametrize("path", ["/v1/key-status", "/v1/v1/key-status"])
def test_the_key_status_is_shown(developer, path):
    assert developer.get(path).json()["status"] == "active"


@pytest.mark.parametrize("path", ["/", "/api/hello", "/v1/api/hello"])
def test_probes_of_claude_code_need_no_key(gateway, path):
    answer = httpx.head(gateway.url + path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/complete",
        "/v1/messages/batches",
        "/v1/v1/v1/messages",
        "/v1/models/claude-haiku-4-5/more",
    ],
)
def test_any_other_path_is_not_found(developer, path):
    answer = developer.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        pytest.param("limit=1000", DOCUMENTED, False, id="all"),
        pytest.param("limit=1", DOCUMENTED[:1], True, id="the first"),
        pytest.param("limit=1&after_id=claude-opus-4-6", DOCUMENTED[1:2], True, id="the next"),
        pytest.param("after_id=claude-sonnet-4-6", DOCUMENTED[2:], False, id="the last"),
        pytest.param("after_id=claude-haiku-4-5", [], False, id="nothing after the last"),
        pytest.param("before_id=claude-haiku-4-5", DOCUMENTED[:2], False, id="all before"),
        pytest.param("limit=1&before_id=claude-haiku-4-5", DOCUMENTED[1:2], True, id="just before"),
        pytest.param("limit=" + "9" * 5000, DOCUMENTED, False, id="an endless limit"),
        pytest.param("limit=x&after_id=claude-nobody", DOCUMENTED, False, id="nonsense"),
    ],
)
def test_models_come_in_pages(developer, query, ids, has_more):
    page = developer.get(f"/v1/models?{query}").json()
    assert [model["id"] for model in page["data"]] == ids
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    assert page["has_more"] is has_more


def test_only_the_models_of_the_key_are_listed(a_developer):
    developer = a_developer(models=["claude-haiku-*"])
    assert [model["id"] for model in developer.get("/v1/models").json()["data"]] == DOCUMENTED[2:]


@pytest.mark.parametrize(
    ("model_id", "status"),
    [
        pytest.param("claude-haiku-4-5", 200, id="allowed"),
        pytest.param("claude-haiku-4-5-20251001", 200, id="its dated snapshot"),
        pytest.param("claude-opus-4-6", 404, id="another's"),
        pytest.param("claude-nobody-1", 404, id="unknown"),
    ],
)
def test_a_model_of_others_is_not_found(a_developer, model_id, status):
    developer = a_developer(models=["claude-haiku-4-5"])
    assert developer.get(f"/v1/models/{model_id}").status_code == status


def test_a_dated_id_goes_upstream_as_it_is(developer):
    answer = developer.ask(model="claude-haiku-4-5-20251001")
    assert answer.json()["model"] == "claude-haiku-4-5-20251001"
