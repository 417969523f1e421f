import csv
import io

import pytest

from keys.core.secret import digest
from keys.models import ApiKey, AuditEvent
from tests.factories import a_key, a_plan, a_spec, a_team
from tests.management import ApiClient

pytestmark = pytest.mark.django_db

FILE = "name,rpm,tokens\nci,7,100/1h\nnightly,,\n"


def test_a_dry_run_issues_nothing_and_shows_no_secret():
    answer = ApiClient("keys:write").post("keys/import", {"csv": FILE, "dry_run": True})
    assert answer.status_code == 200
    assert [row["name"] for row in answer.json()["items"]] == ["ci", "nightly"]
    assert {row["secret"] for row in answer.json()["items"]} == {None}
    assert not ApiKey.objects.exists()
    assert "sk-cc-" not in answer.text


def test_the_keys_of_a_file_are_issued_and_their_secrets_shown_once():
    api = ApiClient("keys:write")
    first, again = (
        api.post("keys/import", {"csv": FILE}, idempotency_key="import-1").json()["items"]
        for _ in range(2)
    )
    stored = list(ApiKey.objects.order_by("pk"))
    assert [digest(row["secret"]) for row in first] == [key.digest for key in stored]
    assert [row["id"] for row in again] == [key.pk for key in stored]
    assert {row["secret"] for row in again} == {None}
    assert AuditEvent.objects.filter(action="apikey.issue").count() == 2


def test_every_line_that_is_wrong_is_told_and_nothing_is_issued():
    wrong = "name,team\nfirst,\nlost,nowhere\nlost too,nowhere\n"
    answer = ApiClient("keys:write").post("keys/import", {"csv": wrong})
    assert answer.status_code == 422
    assert [error["detail"].partition(":")[0] for error in answer.json()["errors"]] == [
        "Line 3",
        "Line 4",
    ]
    assert not ApiKey.objects.exists()


def test_a_file_may_be_larger_than_other_bodies():
    wide = FILE + "".join(f"{'x' * 90} {number},,\n" for number in range(900)) + "," * 60_000 + "\n"
    answer = ApiClient("keys:write").post("keys/import", {"csv": wide, "dry_run": True})
    assert answer.status_code == 422
    assert "Line 904" in answer.json()["errors"][0]["detail"]


def test_an_export_is_what_an_import_reads():
    team, plan = a_team(name="blue"), a_plan(name="gold")
    a_key(name="ci", team=team, plan=plan, budgets=[a_spec(strict=True), a_spec(window_s=60)])
    a_key(name="other")
    api = ApiClient("keys:*")
    file = api.get(f"keys/export?team_id={team.pk}")
    assert file["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(file.streaming_content).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["name"], row["plan"], row["strict"]) == ("ci", "gold", "tokens/1h")
    assert api.post("keys/import", {"csv": text}).status_code == 200
    assert ApiKey.objects.filter(name="ci", team=team, plan=plan).count() == 2


def test_no_secret_is_in_an_export():
    a_key()
    file = ApiClient("keys:read").get("keys/export")
    assert ApiKey.objects.get().digest.encode() not in b"".join(file.streaming_content)


def test_an_export_needs_a_scope_and_known_filters():
    assert ApiClient("teams:read").get("keys/export").status_code == 403
    assert ApiClient("keys:read").get("keys/export?colour=blue").status_code == 400
