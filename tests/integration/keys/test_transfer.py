import csv
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from keys import services
from keys.core.limits import Unit
from keys.core.secret import digest
from keys.core.table import ROWS_MAX, BadTable, read
from keys.models import ApiKey, AuditEvent
from keys.policy import load_policy
from keys.transfer import apikeys_import
from tests.factories import a_key, a_lead, a_plan, a_spec, a_stranger, a_team, an_operator

pytestmark = pytest.mark.django_db

HEAD = "name,team,owner,plan,rpm,models,tokens,usd,cache\n"


def run(*words) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


@pytest.fixture
def file(tmp_path):
    """Writes a file to import."""

    def write(text: str) -> str:
        path = tmp_path / "keys.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_keys_come_in_and_their_secrets_are_handed_back_once(file):
    team, plan, owner = a_team(), a_plan(rpm=7), a_stranger()
    text = HEAD + f"ci,{team.name},{owner.username},{plan.name},,claude-haiku-*,70/1h,,off\n"
    shown = list(
        csv.DictReader(StringIO(run("apikeys_import", file(text + "plain,,,,none,,,,\n"))))
    )
    ci, plain = ApiKey.objects.order_by("pk")
    assert [digest(row["secret"]) for row in shown] == [ci.digest, plain.digest]
    assert (ci.team, ci.owner, ci.plan) == (team, owner, plan)
    assert ci.inherited == ["concurrency", "hangup", "rpm", "wait_s"]
    assert (str(ci.budgets.get()), ci.cache_enabled) == ("70 tokens / 1h", False)
    assert (plain.rpm, str(plain.budgets.get())) == (None, "5,000,000 tokens / 5h")
    assert AuditEvent.objects.filter(action="apikey.issue").count() == 2
    assert not any(row["secret"] in str(list(AuditEvent.objects.values())) for row in shown)


def test_a_dry_run_issues_nothing_and_shows_no_secret(file):
    said = run("apikeys_import", file(HEAD + "ci,,,,,,,,\n"), "--dry-run")
    assert "These would be, 1 in all" in said
    assert "sk-cc-" not in said
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_dry_run_tells_no_gateway(heard, file):
    path = file(HEAD + "ci,,,,,,,,\n")
    assert heard(lambda: run("apikeys_import", path, "--dry-run")) == []


def test_every_problem_names_its_line_and_nothing_is_issued(file):
    rows = ["good,,,,,,,,", "lost,nowhere,,,,,,,", "good too,,,,,,,,", "slip,,,,,claude-x,,,"]
    with pytest.raises(CommandError) as raised:
        run("apikeys_import", file(HEAD + "\n".join(rows)))
    assert str(raised.value).splitlines() == [
        "Nothing was issued.",
        "Line 3: team: There is none called 'nowhere'.",
        "Line 5: models: No model in the catalogue is called 'claude-x'.",
    ]
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "Line 1: The first line must name the columns", id="nothing"),
        pytest.param(HEAD, "Line 1: There are no keys", id="no keys"),
        pytest.param("name,secret\nci,x\n", "no column 'secret'", id="an unknown column"),
        pytest.param("name,name\nci,x\n", "twice", id="a column twice"),
        pytest.param("name,rpm\nci\n", "Line 2: The line has another number", id="a short line"),
        pytest.param("name,rpm\nci,1,2\n", "Line 2: The line has another", id="a long line"),
        pytest.param("name,rpm\nci,fast\n", "Line 2: rpm: 'fast'", id="no number"),
        pytest.param("name,rpm\n,1\n", "Line 2: A key needs a name", id="no name"),
        pytest.param("name,tokens\nci,lots/5h\n", "Line 2: tokens: 'lots'", id="no budget"),
        pytest.param("name,usd\nci,5/soon\n", "Line 2: usd: 'soon'", id="no window"),
        pytest.param("name,cache\nci,maybe\n", "none of on, off", id="no switch"),
        pytest.param("name,hangup\nci,cling\n", "none of abort, drain", id="no habit"),
        pytest.param("name,expires_at\nci,soon\n", "Line 2: expires_at", id="no date"),
        pytest.param("name,expires_at\nci,2020-01-01\n", "passed already", id="a past date"),
        pytest.param(
            "name,tokens,strict\nci,5/1h,tokens/2h\n",
            "'tokens/2h' is no budget",
            id="no such budget",
        ),
        pytest.param("name,anchored\nci,on\n", "names no budget", id="no budget to anchor"),
        pytest.param("name,tokens,strict\nci,5/1h,yes\n", "Line 2: strict", id="no window"),
        pytest.param('name\n"ci\n', "This is not CSV", id="an open quote"),
        pytest.param("name,wait_s\nci,61\n", "Line 2: wait_s", id="too long a wait"),
    ],
)
def test_what_cannot_be_taken_is_said(file, text, complaint):
    with pytest.raises(CommandError, match=complaint):
        run("apikeys_import", file(text))
    assert not ApiKey.objects.exists()


def test_a_file_has_at_most_a_thousand_keys():
    with pytest.raises(BadTable, match=f"Line {ROWS_MAX + 2}: A file has at most 1,000 keys"):
        read("name\n" + "ci\n" * (ROWS_MAX + 1))


def test_a_file_has_a_size(file):
    with pytest.raises(CommandError, match="larger than"):
        run("apikeys_import", file("name\n" + "x" * 1024 * 1024))


def test_what_was_exported_can_be_imported(file):
    plan = a_plan(rpm=7, budgets=[a_spec()])
    a_key(name="=cmd()", rpm=None, budgets=[], cidrs=["10.0.0.0/8"], wait_s=9)
    a_key(name="follower", plan=plan, owner=a_stranger(), team=a_team(), concurrency=3)
    a_key(name="spender", budgets=[a_spec(), a_spec(window_s=60, limit=None)])
    a_key(name="held", budgets=[a_spec(strict=True, anchored=True)], during_maintenance=True)
    some = [a_spec(anchored=True), a_spec(window_s=60), a_spec(unit=Unit.NANOUSD, strict=True)]
    a_key(name="mixed", budgets=some)
    exported = run("apikeys_export")
    before = [load_policy(key.digest) for key in ApiKey.objects.order_by("pk")]
    assert "'=cmd()" in exported
    run("apikeys_import", file(exported))
    after = [load_policy(key.digest) for key in ApiKey.objects.order_by("pk")][5:]
    compared = ("name", "team_id", "models", "networks", "hangup", "cache", "wait_s")
    compared += ("during_maintenance",)
    for field in compared:
        assert [getattr(p, field) for p in after] == [getattr(p, field) for p in before]
    for old, new in zip(before, after, strict=True):
        for field in ("limit", "strict", "anchored"):
            said = [getattr(limit, field) for limit in new.limits]
            assert said == [getattr(limit, field) for limit in old.limits]
        assert new.concurrencies[0].limit == old.concurrencies[0].limit


def test_an_export_holds_no_secret():
    apikey = a_key()
    exported = run("apikeys_export")
    assert apikey.prefix in exported
    assert apikey.digest not in exported


def test_an_export_of_one_team():
    team = a_team()
    a_key(name="theirs", team=team)
    a_key(name="others")
    exported = run("apikeys_export", "--team", team.name)
    assert ("theirs" in exported, "others" in exported) == (True, False)


def test_a_lead_imports_for_their_team_alone():
    team = a_team(plan=a_plan(rpm=60))
    lead = a_lead(team)
    good = read(f"name,team,plan\nci,{team.name},{team.plan.name}\n")
    assert len(apikeys_import(rows=good, acting_user=lead)) == 1
    bad = read(f"name,team,plan,rpm\nci,{team.name},{team.plan.name},61\nci,,,\n")
    with pytest.raises(BadTable) as raised:
        apikeys_import(rows=bad, acting_user=lead)
    assert [problem.line for problem in raised.value.problems] == [2, 3]


def test_an_import_is_somebody_s():
    operator = an_operator()
    apikeys_import(rows=read("name\nci\n"), acting_user=operator, acting_address="192.0.2.7")
    event = AuditEvent.objects.get(action="apikey.issue")
    assert (event.actor, event.address) == (operator, "192.0.2.7")
    assert services.apikey_revoke(apikey=ApiKey.objects.get(), acting_user=operator)
