"""What a variable may hold, and what is said when it holds something else."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from claudcode import env

NAME = "CLAUDCODE_ONLY_IN_TESTS"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No trace of it, before or after: the registry is compared with the docs."""
    monkeypatch.setitem(env.REGISTRY, NAME, env.Setting(NAME, "", ""))
    monkeypatch.delenv(NAME, raising=False)


def test_an_unset_variable_has_its_default():
    assert env.integer(NAME, 7, "A number.") == 7


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv(NAME, "  ")
    assert env.text(NAME, "default", "A text.") == "default"


def test_a_secret_has_no_default():
    assert env.secret(NAME, "A secret.") == ""


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("Yes", True), ("off", False), ("false", False)]
)
def test_booleans_are_words(monkeypatch, value, expected):
    monkeypatch.setenv(NAME, value)
    assert env.boolean(NAME, not expected, "A switch.") is expected


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        (lambda: env.integer(NAME, 1, ""), "1.5", "must be a whole number, not '1.5'"),
        (lambda: env.decimal(NAME, 1, ""), "soon", "must be a number, not 'soon'"),
        (lambda: env.boolean(NAME, True, ""), "maybe", "must be true or false, not 'maybe'"),
    ],
    ids=["integer", "decimal", "boolean"],
)
def test_a_wrong_value_is_named_in_a_sentence(monkeypatch, read, value, sentence):
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} {sentence}"):
        read()


def test_a_list_is_cut_at_commas(monkeypatch):
    monkeypatch.setenv(NAME, "a.example, b.example ,")
    assert env.csv(NAME, "", "Names.") == ["a.example", "b.example"]


def test_a_relative_path_starts_at_the_repository(monkeypatch):
    monkeypatch.setenv(NAME, "var/other")
    assert env.path(NAME, "var", "A folder.") == env.ROOT / "var" / "other"


def test_the_table_has_a_row_for_each_setting():
    env.integer(NAME, 7, "A number.")
    assert f"| `{NAME}` | `7` | A number. |" in env.table().splitlines()
