"""Whatever the console can do, API and commands can do, or a sentence says why they cannot."""

import json

import pytest
from django.core.management import CommandError, call_command, get_commands

from tests.factories import a_key, a_plan, a_team
from tests.integration.operators.matrix import ACTIONS, OWN_PAGES, PAGES
from tests.integration.operators.parity import HISTORY, PARITY, PEOPLE
from tests.management import ApiClient
from tests.operations import OPERATIONS

CONSOLE = {
    f"{table} {page}"
    for table, pages in PAGES.items()
    for page, letters in pages.items()
    if letters and page != "history"
}
CONSOLE |= {f"{table} {action}" for table, actions in ACTIONS.items() for action in actions}
CONSOLE |= OWN_PAGES.keys()
SIDES = list(zip(("operations", "commands"), (OPERATIONS, get_commands()), strict=True))


def named(side: int) -> set[str]:
    rows = [*PARITY.values(), HISTORY]
    return {name for row in rows if not isinstance(row[side], str) for name in row[side]}


def test_every_page_and_action_of_the_console_has_its_row():
    assert PARITY.keys() == CONSOLE


@pytest.mark.parametrize("side", [0, 1], ids=["operations", "commands"])
def test_what_the_table_names_exists(side):
    assert named(side) <= set(SIDES[side][1])


def test_every_operation_is_somewhere_in_the_table():
    assert named(0) == OPERATIONS.keys()


def test_only_people_are_out_of_reach_of_tokens():
    missing = {row for row, (operations, _commands) in PARITY.items() if operations == PEOPLE}
    assert {row.partition("_")[0].partition(".")[0] for row in missing} == {"auth"}
    words = [row for row, sides in PARITY.items() if any(isinstance(side, str) for side in sides)]
    assert set(words) - missing == {"keys_apikey_ask"}


# --- `manage.py show`, which reads what the API reads -------------------------------------------

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def shown(capsys, path: str):
    call_command("show", path)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for method, path, _operation in OPERATIONS.values()
        if method == "GET" and "{" not in path and path not in ("token", "keys/export")
    ),
)
def test_show_prints_what_the_api_answers(capsys, path):
    a_key(team=a_team(), plan=a_plan())
    if path == "usage":
        path += "?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z"
    answered = ApiClient().get(path).json()
    assert shown(capsys, path) == answered


def test_show_reads_one_row_and_what_hangs_on_it(capsys):
    team = a_team()
    assert shown(capsys, f"teams/{team.pk}")["name"] == team.name
    assert shown(capsys, f"/api/v1/teams/{team.pk}/members/") == {"items": [], "next": None}


def test_show_hands_out_keys_as_csv(capsys):
    apikey = a_key()
    call_command("show", "keys/export")
    assert apikey.name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nothing", "There is nothing to read at 'nothing'"),
        ("token", "There is nothing to read"),
        ("cache/purge", "There is nothing to read"),
        ("keys?status=gone", r"\?status .*not a valid choice"),
        ("keys/999999", "Not found"),
    ],
)
def test_show_says_what_is_wrong(path, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("show", path)
