"""What an operator reads: every trouble with its request id, and no secret and no prompt."""

import json

import pytest

from keys.core.secret import compose
from tests.acceptance.developer import a_question
from tests.acceptance.gateway_process import UPSTREAM_CREDENTIAL
from tests.waiting import wait_until

PROMPT = "What I would never tell an operator"


def lines_of(gateway, request_id):
    """The log lines of one request."""
    return [json.loads(line) for line in gateway.log().splitlines() if request_id in line]


@pytest.mark.parametrize(
    ("mark", "status"), [("status=400", 400), ("status=500", 502), ("status=529", 529)]
)
def test_trouble_is_logged_with_its_request_id(developer, gateway, mark, status):
    answer = developer.ask(f"[[sim:{mark}]]")
    request_id = answer.headers["request-id"]
    line = wait_until(lambda: lines_of(gateway, request_id))[-1]
    assert (line["status"], line["path"], line["method"]) == (status, "/v1/messages", "POST")
    assert answer.status_code == status


def test_no_secret_and_no_prompt_is_logged(developer, gateway):
    stranger = compose("s" * 32).text
    for mark in ("say=fine", "status=400", "status=500", "cut after=3"):
        developer.ask(f"{PROMPT} [[sim:{mark}]]", stream=True)
    developer.get(f"/v1/nothing/{developer.secret}")
    developer.get(f"/v1/models?key={developer.secret}")
    developer.post("/v1/messages", json=a_question(PROMPT), headers={"x-api-key": stranger})
    answer = developer.get("/v1/the-last")
    wait_until(lambda: lines_of(gateway, answer.headers["request-id"]))
    log = gateway.log()
    assert PROMPT not in log
    assert developer.secret not in log
    assert stranger not in log
    assert UPSTREAM_CREDENTIAL not in log


def test_every_line_is_json(gateway):
    assert all(json.loads(line)["level"] for line in gateway.log().splitlines())
