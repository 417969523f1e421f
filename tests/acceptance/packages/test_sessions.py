"""Tool sessions over HTTP: opened, renewed and closed with a key, known in every process."""

import re

import pytest

from keys.services import apikey_revoke
from tests.waiting import wait_until
from webtools.sessions import OPEN

PATH = "/mcp/session"


def open_keys(installation) -> set[int]:
    with installation.valkey() as valkey:
        return {int(apikey_id) for apikey_id in valkey.zrange(OPEN, 0, -1)}


def test_a_session_is_opened_renewed_and_closed(installation, developer):
    opened = developer.post(PATH)
    assert opened.status_code == 201
    said = opened.json()
    assert re.fullmatch(r"ts_[0-9a-f]{32}", said["session_id"])
    assert (said["expires_in_s"], said["web_tools"]) == (120, True)
    assert developer.apikey.pk in open_keys(installation)
    renewed = developer.post(f"{PATH}/{said['session_id']}")
    assert (renewed.status_code, renewed.json()) == (200, said)
    assert developer.send("DELETE", f"{PATH}/{said['session_id']}").json()["closed"]
    assert developer.apikey.pk not in open_keys(installation)


def test_nobody_closes_the_session_of_another(installation, a_developer):
    ours, theirs = a_developer(), a_developer()
    session_id = ours.post(PATH).json()["session_id"]
    assert theirs.send("DELETE", f"{PATH}/{session_id}").status_code == 200
    assert ours.apikey.pk in open_keys(installation)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", PATH, 405, id="nothing to read"),
        pytest.param("DELETE", PATH, 405, id="nothing to close"),
        pytest.param("POST", f"{PATH}/ts_1", 404, id="no id"),
        pytest.param("POST", f"{PATH}/ts_{'a' * 32}/b", 404, id="too deep"),
    ],
)
def test_what_is_no_session_is_refused(developer, method, path, status):
    answer = developer.send(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_key_that_is_wrong_or_dead_opens_nothing(installation, developer):
    assert developer.post(PATH, headers={"x-api-key": "sk-cc-no"}).status_code == 401
    apikey_revoke(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: developer.post(PATH).status_code == 401)
    assert developer.apikey.pk not in open_keys(installation)
