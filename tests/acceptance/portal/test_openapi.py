"""The description of `/v1` for machines, held to what a running gateway answers.

The gateway is asked for every status that the description names for an operation, but for those
that only a fault of its own brings about; what comes must be as described: status, headers, body.
"""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from keys.services import maintenance_set
from portal import openapi
from tests.acceptance.developer import Developer, a_question
from tests.acceptance.proxy.test_bad_input import TOO_LARGE
from tests.waiting import wait_until

DESCRIPTION = openapi.description()
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
MODELS, MODEL, STATUS = "/v1/models", "/v1/models/{model_id}", "/v1/key-status"
# A bug, a body that comes too slowly, upstreams that all rest: tests/acceptance/proxy has them.
ELSEWHERE = {408, 500, 529}
WRONG_KEY = {"headers": {"x-api-key": "sk-cc-no"}}
QUESTION = COUNTED = {"json": a_question()}
FORBIDDEN = {"json": a_question(model="claude-opus-4-6")}

ADeveloper = Callable[..., Developer]


def asked(method: str, path: str, *, key: dict[str, Any] | None = None, **options: Any) -> Any:
    """Make what asks once as a developer whose key has these fields."""

    def ask(a_developer: ADeveloper) -> httpx.Response:
        return a_developer(**key or {}).send(method, path, **options)

    return ask


def closed(method: str, path: str, **options: Any) -> Any:
    """Make what asks while the gateway is under maintenance."""

    def ask(a_developer: ADeveloper) -> httpx.Response:
        developer = a_developer(rpm=None)
        maintenance_set(enabled=True, acting_user=None)
        return wait_until(
            lambda: (
                answer
                if (answer := developer.send(method, path, **options)).status_code == 503
                else None
            )
        )

    return ask


PROVOKED: dict[tuple[str, str, int], Callable[[ADeveloper], httpx.Response]] = {
    (MESSAGES, "post", 200): asked("POST", MESSAGES, **QUESTION),
    (MESSAGES, "post", 400): asked("POST", MESSAGES, content=b"{"),
    (MESSAGES, "post", 401): asked("POST", MESSAGES, **QUESTION, **WRONG_KEY),
    (MESSAGES, "post", 403): asked(
        "POST", MESSAGES, key={"models": ["claude-haiku-4-5"]}, **FORBIDDEN
    ),
    (MESSAGES, "post", 413): asked("POST", MESSAGES, content=b" " * TOO_LARGE),
    (MESSAGES, "post", 429): asked("POST", MESSAGES, key={"rpm": 0}, **QUESTION),
    (MESSAGES, "post", 502): asked("POST", MESSAGES, json=a_question("[[sim:status=500]]")),
    (MESSAGES, "post", 503): closed("POST", MESSAGES, **QUESTION),
    (COUNT, "post", 200): asked("POST", COUNT, **COUNTED),
    (COUNT, "post", 400): asked("POST", COUNT, content=b"{"),
    (COUNT, "post", 401): asked("POST", COUNT, **COUNTED, **WRONG_KEY),
    (COUNT, "post", 403): asked("POST", COUNT, key={"models": ["claude-haiku-4-5"]}, **FORBIDDEN),
    (COUNT, "post", 502): asked("POST", COUNT, json=a_question("[[sim:status=500]]")),
    (COUNT, "post", 503): closed("POST", COUNT, **COUNTED),
    (MODELS, "get", 200): asked("GET", MODELS),
    (MODELS, "get", 401): asked("GET", MODELS, **WRONG_KEY),
    (MODELS, "get", 503): closed("GET", MODELS),
    (MODEL, "get", 200): asked("GET", "/v1/models/claude-haiku-4-5"),
    (MODEL, "get", 401): asked("GET", "/v1/models/claude-haiku-4-5", **WRONG_KEY),
    (MODEL, "get", 404): asked("GET", "/v1/models/nothing"),
    (MODEL, "get", 503): closed("GET", "/v1/models/claude-haiku-4-5"),
    (STATUS, "get", 200): asked("GET", STATUS),
    (STATUS, "get", 401): asked("GET", STATUS, **WRONG_KEY),
    (STATUS, "get", 503): closed("GET", STATUS),
}
# The limit of token counts is a setting: 3,000 a minute (tests/acceptance/proxy has it).
COUNTED_OUT = (COUNT, "post", 429)


@pytest.fixture(autouse=True)
def open_again(a_developer) -> Iterator[None]:
    """Have the gateway open after a test."""
    yield
    maintenance_set(enabled=False, acting_user=None)
    wait_until(lambda: a_developer().get(MODELS).status_code == 200)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = DESCRIPTION
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def conforms(value: object, schema: dict[str, Any]) -> None:
    OAS31Validator(schema | {"components": DESCRIPTION["components"]}).validate(value)


def operations() -> Iterator[tuple[str, str, int]]:
    for path, methods in DESCRIPTION["paths"].items():
        for method, operation in methods.items():
            yield from ((path, method, int(status)) for status in operation["responses"])


def test_it_is_openapi():
    validate(DESCRIPTION)


def test_every_answer_it_names_is_provoked_here():
    named = {each for each in operations() if each[2] not in ELSEWHERE}
    assert named == {*PROVOKED, COUNTED_OUT}


@pytest.mark.parametrize("case", PROVOKED, ids=lambda case: f"{case[1]} {case[0]} {case[2]}")
def test_what_comes_is_as_described(a_developer, case):
    path, method, status = case
    answer = PROVOKED[case](a_developer)
    described = resolved(DESCRIPTION["paths"][path][method]["responses"][str(status)])
    assert answer.status_code == status, answer.text
    conforms(answer.json(), described["content"]["application/json"]["schema"])
    headers = {name: resolved(node) for name, node in described["headers"].items()}
    assert not [n for n, h in headers.items() if h.get("required") and n not in answer.headers]
    for name in [name for name in headers if name in answer.headers]:
        schema = headers[name]["schema"]
        value = answer.headers[name]
        conforms(int(value) if schema["type"] == "integer" else value, schema)


def test_a_stream_is_described(a_developer):
    with a_developer().listen() as answer:
        content = DESCRIPTION["paths"][MESSAGES]["post"]["responses"]["200"]["content"]
        assert answer.headers["content-type"].partition(";")[0] in content


def test_what_is_described_is_asked_as_the_gateway_reads_it():
    schema = DESCRIPTION["paths"][MESSAGES]["post"]["requestBody"]["content"]["application/json"]
    conforms(a_question(), resolved(schema["schema"]))


def test_both_forms_are_served_with_the_readers_address(http, gateway):
    as_json = http.get(f"{gateway.url}/openapi.json").json()
    as_yaml = yaml.safe_load(http.get(f"{gateway.url}/openapi.yaml").text)
    assert as_json == as_yaml
    assert as_json["servers"] == [{"url": gateway.url}]
