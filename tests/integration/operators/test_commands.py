"""Commands about people, and about who is told of alerts."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import Alert, AlertDelivery, AlertTarget
from operators.alerts.raising import alerts_raise
from operators.roles import roles_of
from operators.services import operator_add
from tests.factories import a_team

pytestmark = pytest.mark.django_db

HOOK = "https://93.184.216.34/hidden/path"


def run(*words) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


@pytest.fixture(autouse=True)
def _sealing(settings):
    from cryptography.fernet import Fernet

    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def alert():
    found = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", EPOCH, "It is behind.")
    return alerts_raise([found], timezone.now())[0]


def test_roles_are_changed_and_an_account_is_closed_and_opened():
    operator_add(username="ada", roles=["admin"], acting_user=None)
    user, _ = operator_add(username="maria", roles=["viewer"], acting_user=None)
    run("operator_set", "maria", "--role", "operator", "--role", "team lead", "--close")
    user.refresh_from_db()
    assert (roles_of(user), user.is_active) == (["operator", "team lead"], False)
    said = run("operator_set", "maria", "--open")
    assert said == "maria is open; roles: operator, team lead.\n"


def test_what_an_account_says_of_its_owner_is_changed_and_the_rest_stays():
    run("operator_add", "maria", "--first-name", "Maria", "--role", "viewer")
    run("operator_add", "ada", "--role", "admin")
    run("operator_set", "maria", "--email", "maria@example.com", "--last-name", "Silva")
    (_, row) = [json.loads(line) for line in run("operator_list", "--json").splitlines()]
    assert (row["name"], row["email"]) == ("Maria Silva", "maria@example.com")
    assert (row["roles"], row["open"], row["second_factor"]) == (["viewer"], True, False)
    assert "maria: viewer, no second factor, last sign-in never" in run("operator_list")


def test_the_last_admin_stays():
    user, _ = operator_add(username="ada", roles=["admin"], acting_user=None)
    with pytest.raises(CommandError, match="Nobody would be left"):
        run("operator_set", "ada", "--no-role")
    assert roles_of(user) == ["admin"]


def test_a_webhook_is_added_with_its_secret_shown_once():
    team = a_team(name="blue")
    said = run("alerttarget_add", "pager", "--webhook", HOOK, "--kinds", "drain", "--team", "blue")
    target = AlertTarget.objects.get()
    assert (target.kinds, target.team) == (["drain"], team)
    assert "whsec_" in said
    listed = run("alerttarget_list")
    assert "pager: webhook to https://93.184.216.34/…, told of drain of team blue" in listed
    assert "whsec_" not in listed


def test_a_target_is_changed_and_deleted():
    run("alerttarget_add", "ops", "--email", "ops@example.com")
    run("alerttarget_set", "ops", "--rename", "night", "--kinds", "drain,spend", "--disable")
    target = AlertTarget.objects.get()
    assert (target.name, target.kinds, target.enabled) == ("night", ["drain", "spend"], False)
    run("alerttarget_set", "night", "--delete")
    assert not AlertTarget.objects.exists()


def test_a_secret_is_renewed_and_an_e_mail_has_none():
    run("alerttarget_add", "pager", "--webhook", HOOK)
    before = AlertTarget.objects.get().secret
    assert "whsec_" in run("alerttarget_set", "pager", "--new-secret")
    assert AlertTarget.objects.get().secret != before
    run("alerttarget_add", "ops", "--email", "ops@example.com")
    with pytest.raises(CommandError, match="Only webhooks"):
        run("alerttarget_set", "ops", "--new-secret")


def test_a_test_that_fails_is_said(settings):
    settings.EMAIL_URL = ""
    run("alerttarget_add", "ops", "--email", "ops@example.com")
    with pytest.raises(CommandError, match="CLAUDCODE_EMAIL_URL is not set"):
        run("alerttarget_set", "ops", "--test")


def test_alerts_are_listed(alert):
    assert "drain: It is behind. (since" in run("alert_list")
    assert json.loads(run("alert_list", "--json"))["id"] == alert.pk
    Alert.objects.update(resolved_at=timezone.now())
    assert run("alert_list") == ""
    assert "over" in run("alert_list", "--all", "--kind", "drain")


def test_what_was_given_up_is_replayed(alert):
    run("alerttarget_add", "ops", "--email", "ops@example.com")
    dead = AlertDelivery.objects.create(
        alert=alert, target=AlertTarget.objects.get(), dead_at=timezone.now()
    )
    assert f"given up: {dead.pk}" in run("alerttarget_list")
    assert "1 of 1" in run("alertdelivery_replay", str(dead.pk))
    assert "0 of 1" in run("alertdelivery_replay", str(dead.pk))
