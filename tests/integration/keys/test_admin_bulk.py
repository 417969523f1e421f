"""Lists of keys in the console: out as CSV, in from CSV."""

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from keys.core.secret import digest
from keys.models import ApiKey, AuditEvent
from tests.factories import a_key, a_lead, a_plan, a_team, a_viewer, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

KEYS = reverse("admin:keys_apikey_changelist")
IMPORT = reverse("admin:keys_apikey_import_csv")
SECRET = re.compile(r"sk-cc-[0-9A-Za-z]{38}")


def signed_in(user) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


@pytest.fixture
def operator() -> Client:
    return signed_in(an_operator())


def look_through(client: Client, text: str) -> str:
    file = SimpleUploadedFile("keys.csv", text.encode())
    return client.post(IMPORT, {"file": file}).content.decode()


def issue(client: Client, text: str):
    return client.post(IMPORT, {"confirmed": "yes", "text": text}, follow=True)


def test_a_file_is_looked_through_before_anything_is_issued(operator):
    page = look_through(operator, "name\nci\n<b>\n")
    assert "Nothing is issued yet. 2 keys would be" in page
    assert html.escape("<b>") in page
    assert not SECRET.search(page)
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.filter(action="apikey.issue").exists()


def test_the_report_sends_the_same_file_again(operator):
    page = look_through(operator, 'name,models\n"a ""b"" & c",all\n')
    text = re.search(r'name="text" hidden>\n(.*?)</textarea>', page, re.DOTALL).group(1)
    issue(operator, html.unescape(text))
    assert ApiKey.objects.get().name == 'a "b" & c'


def test_the_secrets_are_shown_once(operator):
    page = issue(operator, "name\nci\ncd\n")
    secrets = SECRET.findall(page.content.decode())
    stored = ApiKey.objects.order_by("pk").values_list("digest", flat=True)
    assert [digest(secret) for secret in secrets] == list(stored)
    assert "no-store" in page["Cache-Control"]
    again = issue(operator, "name\nci\ncd\n").content.decode()
    assert "were issued already" in again
    assert ApiKey.objects.count() == 2


def test_problems_name_their_lines(operator):
    page = look_through(operator, "name,rpm\ngood,1\nbad,fast\n")
    assert "Line 3: rpm: &#x27;fast&#x27; is not a whole number." in page
    assert not ApiKey.objects.exists()


def test_what_is_no_text_is_refused(operator):
    file = SimpleUploadedFile("keys.csv", b"\xff\xfe")
    assert "not UTF-8" in operator.post(IMPORT, {"file": file}).content.decode()


def test_a_lead_imports_within_the_team_s_plan(operator):
    team = a_team(plan=a_plan(rpm=60))
    lead = signed_in(a_lead(team))
    rows = f"name,team,plan,rpm\nci,{team.name},{team.plan.name},61\n"
    assert "At most 60 requests a minute" in look_through(lead, rows)
    issue(lead, rows.replace(",61\n", ",60\n"))
    assert ApiKey.objects.get().team == team


def test_a_viewer_imports_nothing():
    viewer = signed_in(a_viewer())
    assert viewer.get(IMPORT).status_code == 403
    assert issue(viewer, "name\nci\n").status_code == 403
    assert not ApiKey.objects.exists()


def test_selected_keys_are_exported(operator):
    one, other = a_key(name="one"), a_key(name="other")
    chosen = {"action": "export_csv", "_selected_action": [str(one.pk)]}
    answer = operator.post(KEYS, chosen)
    text = b"".join(answer.streaming_content).decode()
    assert ("one" in text, "other" in text) == (True, False)
    assert one.digest not in text
    assert answer["Content-Disposition"] == 'attachment; filename="keys.csv"'
    assert other.pk
