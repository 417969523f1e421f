"""What the official SDKs raise, what they retry, and which request id they show."""

import time

import pytest

from tests.acceptance.clients.sdk import SdkError
from tests.acceptance.developer import a_question
from tests.factories import a_spec

WAYS = ["create", "events", "stream"]
# Every SDK would sleep for at least eleven seconds between so many tries.
MANY_RETRIES = 5
AT_ONCE_S = 5.0


def raised(call, **request) -> SdkError:
    with pytest.raises(SdkError) as caught:
        call(**request)
    return caught.value


@pytest.mark.usefixtures("awake")
@pytest.mark.parametrize(
    ("prompt", "status", "class_name", "wire_type"),
    [
        pytest.param("status=400", 400, "BadRequestError", "invalid_request_error", id="400"),
        pytest.param("status=404", 404, "NotFoundError", "not_found_error", id="404"),
        pytest.param("status=413", 413, "APIError", "request_too_large", id="413"),
        pytest.param("status=429", 529, "APIError", "overloaded_error", id="its own limit"),
        pytest.param("status=500", 502, "InternalServerError", "api_error", id="its own fault"),
        pytest.param("status=401", 502, "InternalServerError", "api_error", id="its own key"),
        pytest.param("status=529", 529, "APIError", "overloaded_error", id="529"),
    ],
)
def test_what_upstream_refuses_is_raised(client, prompt, status, class_name, wire_type):
    error = raised(client.create, **a_question(f"[[sim:{prompt}]]"))
    assert (error.status, error.type) == (status, wire_type)
    assert class_name in error.classes


@pytest.mark.parametrize("way", ["events", "stream"])
def test_a_stream_that_is_refused_is_raised(client, way):
    error = raised(getattr(client, way), **a_question("[[sim:status=529]]"))
    assert (error.status, error.type) == (529, "overloaded_error")


def test_a_body_that_is_wrong_is_raised(client):
    error = raised(client.create, **a_question(max_tokens="many"))
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert error.message == "max_tokens: Input should be a valid integer"
    assert "BadRequestError" in error.classes


@pytest.mark.parametrize("credential", ["api_key", "auth_token"])
def test_a_wrong_key_is_raised_at_once(sdk, base_url, developer, credential):
    wrong = developer.secret[:-1] + "?"
    client = sdk.client(base_url, **{credential: wrong}, max_retries=MANY_RETRIES)
    began = time.monotonic()
    error = raised(client.create, **a_question())
    assert time.monotonic() - began < AT_ONCE_S
    assert (error.status, error.type) == (401, "authentication_error")
    assert "AuthenticationError" in error.classes


def test_a_model_that_is_not_allowed_is_raised_at_once(sdk, gateway, a_developer):
    key = a_developer(models=["claude-haiku-*"]).secret
    client = sdk.client(gateway.url, key, max_retries=MANY_RETRIES)
    began = time.monotonic()
    error = raised(client.create, **a_question(model="claude-opus-4-6"))
    assert time.monotonic() - began < AT_ONCE_S
    assert (error.status, error.type) == (403, "permission_error")
    assert "PermissionDeniedError" in error.classes


def test_a_model_that_does_not_exist_is_raised(client):
    error = raised(client.model, model_id="claude-unheard-of")
    assert (error.status, error.type) == (404, "not_found_error")
    assert "NotFoundError" in error.classes


def test_the_request_id_of_an_error_is_the_gateways(client):
    error = raised(client.create, **a_question("[[sim:status=529]]"))
    assert error.request_id == error.headers["request-id"] == error.body["request_id"]
    assert error.request_id.removeprefix("req_").isalnum()
    assert len(error.request_id) == len("req_") + 32


def test_a_spent_budget_is_raised_at_once_however_many_retries(sdk, gateway, a_developer):
    key = a_developer(budgets=[a_spec(window_s=5 * 3600, limit=1)]).secret
    client = sdk.client(gateway.url, key, max_retries=MANY_RETRIES)
    client.create(**a_question())
    began = time.monotonic()
    error = raised(client.create, **a_question())
    assert time.monotonic() - began < AT_ONCE_S
    assert error.headers["x-should-retry"] == "false"
    assert error.message.startswith("Token budget exceeded. Resets in ")
    assert "RateLimitError" in error.classes


def test_a_short_wait_is_obeyed_unseen(sdk, gateway, a_developer):
    key = a_developer(rpm=None, budgets=[a_spec(window_s=1, limit=1)]).secret
    client = sdk.client(gateway.url, key)
    client.create(**a_question())
    began = time.monotonic()
    error = raised(client.create, **a_question())
    patient = sdk.client(gateway.url, key, max_retries=1)
    assert patient.create(**a_question())["type"] == "message"
    waited_s = time.monotonic() - began
    asked_s = int(error.headers["retry-after"])
    assert asked_s - 1 <= waited_s < asked_s + 2


@pytest.mark.parametrize("way", WAYS)
def test_one_failure_of_upstream_is_retried_unseen(sdk, gateway, developer, way):
    prompt = f"[[sim:status=500 times=1 id={developer.apikey.pk}]] Hello"
    client = sdk.client(gateway.url, developer.secret, max_retries=1)
    assert getattr(client, way)(**a_question(prompt))


@pytest.mark.parametrize("way", ["events", "stream"])
@pytest.mark.parametrize(
    ("mark", "wire_type", "message"),
    [
        pytest.param(
            "error after=4 message=Enough", "overloaded_error", "Enough", id="an error of upstream"
        ),
        pytest.param(
            "cut after=4", "api_error", "The upstream broke off its answer.", id="upstream gone"
        ),
    ],
)
def test_a_failure_in_the_middle_of_a_stream_is_raised(client, way, mark, wire_type, message):
    error = raised(getattr(client, way), **a_question(f"[[sim:{mark}]]"))
    assert "APIError" in error.classes
    assert (error.type, error.message) == (wire_type, message)


def test_an_answer_cut_off_in_the_middle_is_raised(client):
    error = raised(client.create, **a_question("[[sim:cut after=4]]"))
    assert {"APIConnectionError", "terminated"} & set(error.classes)
