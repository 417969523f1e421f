import datetime as dt
import json

import pytest
from django.core.management import CommandError, call_command

from keys.core.limits import AMOUNT_MAX
from keys.core.secret import digest
from keys.models import ApiKey, AuditEvent, Budget
from tests.factories import a_team

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engines")]


@pytest.fixture
def issue(capsys):
    """Runs the command and returns what it printed."""

    def run(*arguments: str) -> str:
        call_command("apikey_issue", "--name", "laptop", *arguments)
        return capsys.readouterr().out

    return run


def test_the_secret_printed_opens_the_key_made(issue):
    printed = json.loads(issue("--json"))
    apikey = ApiKey.objects.get(pk=printed["id"])
    assert apikey.digest == digest(printed["secret"])
    assert printed["prefix"] == apikey.prefix == printed["secret"][:12]


def test_a_person_sees_the_secret_once(issue):
    assert issue().count("sk-cc-") == 1


def test_the_limits_of_a_key_for_which_none_are_named(issue):
    assert json.loads(issue("--json"))["limits"] == {
        "rpm": 60,
        "concurrency": 5,
        "budgets": [
            {
                "unit": "tok",
                "window_s": 18_000,
                "limit_amount": 5_000_000,
                "strict": False,
                "anchored": False,
            }
        ],
    }


def test_budgets_named_replace_the_default(issue):
    issue("--tokens", "100/1m", "--tokens", "5000/1d", "--usd", "20/30d", "--strict", "--anchored")
    named = Budget.objects.values_list("unit", "window_s", "limit_amount", "strict", "anchored")
    assert list(named) == [
        ("tok", 60, 100, True, True),
        ("tok", 86_400, 5000, True, True),
        ("usd", 2_592_000, 20_000_000_000, True, True),
    ]


def test_none_is_unlimited(issue):
    issue("--rpm", "none", "--concurrency", "none", "--tokens", "none")
    apikey = ApiKey.objects.get()
    assert (apikey.rpm, apikey.concurrency, apikey.budgets.count()) == (None, None, 0)


def test_zero_is_nothing(issue):
    issue("--rpm", "0", "--concurrency", "0", "--tokens", "0/5h")
    apikey = ApiKey.objects.get()
    assert (apikey.rpm, apikey.concurrency) == (0, 0)
    assert apikey.budgets.get().limit_amount == 0


def test_access(issue):
    team = a_team(name="research")
    models, cidrs = "claude-haiku-4-5,claude-opus-*", "10.0.0.0/8, 192.0.2.7"
    issue("--team", "research", "--models", models, "--cidrs", cidrs, "--expires", "2099-01-31")
    apikey = ApiKey.objects.get()
    assert apikey.team == team
    assert apikey.models == ["claude-haiku-4-5", "claude-opus-*"]
    assert apikey.cidrs == ["10.0.0.0/8", "192.0.2.7"]
    assert apikey.expires_at == dt.datetime(2099, 1, 31, tzinfo=dt.UTC)


def test_cache_waiting_and_maintenance(issue):
    issue("--no-cache", "--wait", "20", "--during-maintenance")
    apikey = ApiKey.objects.get()
    assert (apikey.cache_enabled, apikey.wait_s, apikey.during_maintenance) == (False, 20, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["--team", "nobody"], "team_create --name 'nobody'", id="no such team"),
        pytest.param(["--rpm", "-1"], "--rpm", id="negative rpm"),
        pytest.param(["--rpm", "many"], "neither a whole number nor none", id="rpm in words"),
        pytest.param(["--rpm", "1" * 20], "rpm: ", id="rpm beyond counting"),
        pytest.param(["--concurrency", "1.5"], "neither a whole number", id="half an exchange"),
        pytest.param(["--tokens", "5000000"], "as in 5000000/5h", id="no window"),
        pytest.param(["--tokens", "5000000/5y"], "is not a window", id="years"),
        pytest.param(["--tokens", f"{AMOUNT_MAX + 1}/5h"], "counted exactly", id="too many"),
        pytest.param(["--tokens", "1/5h", "--tokens", "2/5h"], "already exists", id="twice"),
        pytest.param(["--usd", "20$/30d"], "not an amount of US dollars", id="a dollar sign"),
        pytest.param(["--models", "claude-opus-4.6"], "No model in the catalogue", id="a slip"),
        pytest.param(["--cidrs", "10.0.0.1/8"], "host bits set", id="host bits"),
        pytest.param(["--cidrs", "example.com"], "cidrs: ", id="a host name"),
        pytest.param(["--expires", "tomorrow"], "not a date or time", id="a date in words"),
        pytest.param(["--expires", "2020-01-01"], "passed already", id="a date gone by"),
        pytest.param(["--wait", "61"], "wait_s: ", id="a wait longer than clients have"),
        pytest.param(["--wait", "-1"], "wait_s: ", id="a wait into the past"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(issue, arguments, complaint):
    with pytest.raises(CommandError) as raised:
        issue(*arguments)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.filter(target_type="apikey").exists()


def test_a_name_is_needed():
    with pytest.raises(CommandError, match="--name"):
        call_command("apikey_issue")
