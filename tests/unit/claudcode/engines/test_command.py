"""The state folder on the command line."""

import pytest

from claudcode import env
from claudcode.engines.children import EngineError
from claudcode.engines.command import take_state


@pytest.fixture(autouse=True)
def state_variable(monkeypatch):
    monkeypatch.setenv("CLAUDCODE_STATE", "/before")


@pytest.mark.parametrize(
    "words",
    [
        ["manage.py", "--state", "/srv/cc", "up", "--port", "0"],
        ["manage.py", "up", "--state", "/srv/cc", "--port", "0"],
        ["manage.py", "up", "--port", "0", "--state=/srv/cc"],
    ],
    ids=["before the command", "among its options", "with an equals sign"],
)
def test_state_is_taken_from_anywhere(words):
    assert take_state(words) == ["manage.py", "up", "--port", "0"]
    assert str(env.state_folder()) == "/srv/cc"


def test_without_the_option_nothing_changes():
    assert take_state(["manage.py", "migrate"]) == ["manage.py", "migrate"]
    assert str(env.state_folder()) == "/before"


def test_a_missing_folder_is_said():
    with pytest.raises(EngineError, match="--state wants a folder"):
        take_state(["manage.py", "migrate", "--state"])
