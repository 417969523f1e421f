"""Upstream accounts over the management API: a credential goes in and never comes out."""

import pytest
from cryptography.fernet import Fernet

from keys.models import AuditEvent, ClaudeModel
from proxy.accounts import load_account
from proxy.models import UpstreamAccount
from tests import models_server
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

# What a request to test an account, or to move it, asks of a token.
OPERATED = ("enable", "disable", "use-again", "test")
SECRET = "sk-ant-api03-this-is-a-secret-AbCd"
BODY = {"name": "first", "base_url": "https://upstream.example", "credential": SECRET}


@pytest.fixture
def api(settings) -> ApiClient:
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    return ApiClient("upstreams:*")


def test_a_credential_goes_in_and_never_comes_out(api):
    made = api.post("upstreams", BODY)
    path = f"upstreams/{made.json()['id']}"
    answers = [made, api.get("upstreams"), api.get(path), api.patch(path, {"weight": 3})]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert SECRET not in "".join(answer.text for answer in answers)
    assert made.json()["credential_hint"] == "sk-ant-…AbCd"
    account = UpstreamAccount.objects.get()
    assert load_account(account).headers == ((b"x-api-key", SECRET.encode()),)


def test_a_credential_is_in_no_problem_and_no_audit_row(api):
    answer = api.post("upstreams", BODY | {"credential": SECRET + " x", "weight": 0})
    assert answer.status_code == 400
    api.post("upstreams", BODY | {"credential": SECRET + " x"})
    api.post("upstreams", BODY)
    assert SECRET not in answer.text + str(list(AuditEvent.objects.values()))


def test_a_credential_is_not_sent_to_another_origin(api):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}"
    answer = api.patch(path, {"base_url": "https://thief.example"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/credential"


def test_a_credential_is_taken_away(api):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}"
    assert api.patch(path, {"credential": ""}).json()["credential_hint"] == ""


def test_accounts_say_how_they_stand(api):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}"
    assert api.get(path).json()["state"] == "in use"
    assert api.post(f"{path}/disable").json()["state"] == "disabled"
    assert api.post(f"{path}/enable").json()["state"] == "in use"


def test_an_account_is_deleted(api):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}"
    assert api.delete(path).status_code == 204
    assert not UpstreamAccount.objects.exists()


def test_a_test_says_what_came_of_it(api):
    body = BODY | {"base_url": "http://127.0.0.1:1"}
    path = f"upstreams/{api.post('upstreams', body).json()['id']}"
    answer = api.post(f"{path}/test").json()
    assert (answer["status"], answer["models"]) == (0, [])
    assert answer["trouble"]


@pytest.mark.parametrize("verb", OPERATED)
def test_to_operate_an_account_is_a_scope_of_its_own(api, verb):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}/{verb}"
    assert ApiClient("upstreams:read", "upstreams:write").post(path).status_code == 403


def test_to_operate_is_not_to_write(api):
    path = f"upstreams/{api.post('upstreams', BODY).json()['id']}"
    operator = ApiClient("upstreams:operate")
    assert operator.post(f"{path}/disable").json()["enabled"] is False
    assert operator.patch(path, {"weight": 7}).status_code == 403


@pytest.fixture
def listed(api):
    """The path to import the models of an account, which lists two that nobody knows."""
    with models_server.serving() as server:
        server.answer = lambda _path, _headers: models_server.models("claude-new-1", "claude-new-2")
        made = api.post("upstreams", BODY | {"base_url": server.url}).json()
        yield f"upstreams/{made['id']}/import-models"


def test_models_of_an_account_come_into_the_catalogue(listed):
    api = ApiClient("models:write")
    wanted = {"only": ["claude-new-1"], "enable": ["claude-new-1"]}
    tried = api.post(listed, wanted | {"dry_run": True}).json()
    assert (tried["listed"], [row["model_id"] for row in tried["items"]]) == (2, ["claude-new-1"])
    assert not ClaudeModel.objects.filter(model_id__startswith="claude-new").exists()
    assert api.post(listed, wanted).status_code == 200
    assert ClaudeModel.objects.get(model_id="claude-new-1").enabled
    assert api.post(listed, {}).json()["items"][0]["model_id"] == "claude-new-2"
    assert AuditEvent.objects.filter(action="upstream.import").count() == 2


def test_only_what_is_listed_is_imported(listed):
    answer = ApiClient("models:write").post(listed, {"only": ["claude-new-1", "claude-else"]})
    assert answer.status_code == 422
    assert "claude-else" in answer.text
    assert not ClaudeModel.objects.filter(model_id="claude-new-1").exists()
