"""The commands about upstream accounts; a credential is never an argument of theirs."""

import io
import json
import sys

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from keys.models import ClaudeModel
from proxy.accounts import load_accounts
from proxy.models import UpstreamAccount
from proxy.services import upstream_from_environment
from tests import models_server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SECRET = "sk-ant-api03-this-is-a-secret-AbCd"


@pytest.fixture(autouse=True)
def keys(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.ANTHROPIC_API_KEY = settings.ANTHROPIC_AUTH_TOKEN = ""
    settings.ANTHROPIC_BASE_URL = "https://api.anthropic.com"


@pytest.fixture
def manage(monkeypatch):
    def run(*words: str, typed: str = "") -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        said = io.StringIO()
        call_command(*words, stdout=said)
        return said.getvalue()

    return run


@pytest.fixture
def server():
    with models_server.serving() as running:
        yield running


def test_an_account_is_added_with_the_credential_of_standard_input(manage):
    said = manage("upstream_add", "first", "--priority", "2", "--rpm", "none", typed=f"{SECRET}\n")
    (account,) = load_accounts()
    assert (account.base_url, account.priority) == ("https://api.anthropic.com", 2)
    assert account.headers == ((b"x-api-key", SECRET.encode()),)
    assert SECRET not in said


def test_an_account_without_a_credential_says_so(manage):
    with pytest.raises(CommandError, match="no credential on standard input"):
        manage("upstream_add", "first")
    manage("upstream_add", "first", "--no-credential", "--base-url", "http://proxy.internal")
    assert load_accounts()[0].headers == ()


def test_what_cannot_be_stored_is_said_in_words(manage):
    with pytest.raises(CommandError, match="base_url: Leave /v1 out"):
        manage("upstream_add", "a", "--base-url", "https://a.example/v1", typed=SECRET)


def test_what_is_given_is_changed_and_the_rest_stays(manage):
    manage("upstream_add", "first", "--weight", "3", "--concurrency", "5", typed=SECRET)
    manage("upstream_set", "first", "--priority", "1", "--models", "claude-haiku-*")
    manage("upstream_set", "first", "--concurrency", "none", "--rename", "main")
    (account,) = load_accounts()
    assert (account.name, account.priority, account.weight) == ("main", 1, 3)
    assert (account.concurrency, account.models) == (None, ("claude-haiku-*",))
    assert account.headers == ((b"x-api-key", SECRET.encode()),)


def test_an_account_is_switched_off_and_on(manage):
    manage("upstream_add", "first", "--disabled", typed=SECRET)
    assert load_accounts() == ()
    manage("upstream_set", "first", "--enable")
    assert len(load_accounts()) == 1
    manage("upstream_set", "first", "--disable")
    assert load_accounts() == ()


def test_a_credential_is_replaced_from_standard_input(manage):
    manage("upstream_add", "first", typed=SECRET)
    manage("upstream_set", "first", "--credential", typed="another-credential\n")
    assert load_accounts()[0].headers == ((b"x-api-key", b"another-credential"),)
    manage("upstream_set", "first", "--no-credential")
    assert load_accounts()[0].headers == ()


def test_an_unknown_account_is_said(manage):
    with pytest.raises(CommandError, match="no upstream account 'first'"):
        manage("upstream_set", "first", "--enable")


def test_the_list_shows_how_accounts_stand_and_no_credential(manage):
    assert "No upstream account is stored" in manage("upstream_list")
    manage("upstream_add", "first", typed=SECRET)
    manage("upstream_add", "second", "--disabled", typed=SECRET)
    said = manage("upstream_list")
    assert "first: in use\n    https://api.anthropic.com, sk-ant-…AbCd, set 20" in said
    assert "second: disabled" in said
    assert SECRET not in said
    rows = json.loads(manage("upstream_list", "--json"))
    assert [(row["name"], row["state"]) for row in rows] == [
        ("first", "in use"),
        ("second", "disabled"),
    ]


def test_a_test_of_all_fails_if_one_does(manage, server):
    manage("upstream_add", "good", "--base-url", server.url, typed=SECRET)
    assert "good: It answers: HTTP 200" in manage("upstream_test")
    manage("upstream_add", "bad", "--base-url", "http://127.0.0.1:1", typed=SECRET)
    with pytest.raises(CommandError, match="Not in order: 1 of 2"):
        manage("upstream_test")
    assert "good: It answers" in manage("upstream_test", "good")


def test_an_account_that_stands_aside_is_tested_by_name_alone(manage, server):
    upstream_from_environment()
    manage("upstream_add", "good", "--base-url", server.url, typed=SECRET)
    assert "default" not in manage("upstream_test")
    with pytest.raises(CommandError, match="Not in order: 1 of 1"):
        manage("upstream_test", "default")


def test_models_are_imported(manage, server):
    server.answer = lambda *_: models_server.models("claude-a", "claude-b", "claude-haiku-4-5")
    manage("upstream_add", "first", "--base-url", server.url, typed=SECRET)
    before = ClaudeModel.objects.count()
    assert "would be added: 2 of 3" in manage("upstream_import_models", "first", "--dry-run")
    assert ClaudeModel.objects.count() == before
    said = manage("upstream_import_models", "first", "--only", "claude-b", "--enable", "claude-b")
    assert "claude-b: claude-b, 200,000 tokens in, 64,000 out (limits guessed" in said
    manage("upstream_import_models", "first")
    found = ClaudeModel.objects.filter(model_id__in=["claude-a", "claude-b"])
    assert dict(found.values_list("model_id", "enabled")) == {"claude-a": False, "claude-b": True}


def test_a_model_that_is_not_listed_is_not_imported(manage, server):
    manage("upstream_add", "first", "--base-url", server.url, typed=SECRET)
    with pytest.raises(CommandError, match="Not among what could be added: claude-x"):
        manage("upstream_import_models", "first", "--enable", "claude-x")


def test_rotation_tells_what_it_did_and_fails_for_what_it_could_not(manage, settings):
    manage("upstream_add", "first", typed=SECRET)
    (old,) = settings.CREDENTIAL_KEYS
    new = Fernet.generate_key().decode()
    settings.CREDENTIAL_KEYS = [new, old]
    assert "upstream accounts: sealed anew 1," in manage("credentials_rotate")
    assert "sealed anew 0, by the first key before 1." in manage("credentials_rotate")
    settings.CREDENTIAL_KEYS = [old]
    with pytest.raises(CommandError, match="No key opens: upstream accounts of first"):
        manage("credentials_rotate")
    assert UpstreamAccount.objects.get().credential is not None
