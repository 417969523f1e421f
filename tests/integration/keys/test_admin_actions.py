"""Rotating, changing plans and raising budgets, from the list and the page of keys."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys.core.secret import digest
from keys.models import ApiKey, AuditEvent
from keys.policy import load_policy
from tests.factories import a_key, a_lead, a_plan, a_spec, a_team, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

KEYS = reverse("admin:keys_apikey_changelist")
SECRET = re.compile(r"sk-cc-[0-9A-Za-z]{38}")
LATER = "2100-01-31"


@pytest.fixture
def operator() -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(an_operator())
    return client


def act(client: Client, action: str, *apikeys: ApiKey, **fields):
    chosen = [str(apikey.pk) for apikey in apikeys]
    form = {"action": action, "_selected_action": chosen, "confirmed": "yes"}
    return client.post(KEYS, form | fields, follow=True)


def test_a_rotation_shows_the_new_secret_once(operator):
    apikey = a_key()
    page = act(operator, "rotate", apikey, grace_s="3600")
    stored = ApiKey.objects.get(pk=apikey.pk)
    assert stored.digest == digest(SECRET.search(page.content.decode()).group())
    assert stored.previous_digest == apikey.digest
    assert "no-store" in page["Cache-Control"]


def test_a_reload_does_not_rotate_again(operator):
    apikey = a_key()
    act(operator, "rotate", apikey, grace_s="3600")
    again = act(operator, "rotate", apikey, grace_s="3600")
    assert "was rotated already" in again.content.decode()
    assert ApiKey.objects.get(pk=apikey.pk).previous_digest == apikey.digest
    assert AuditEvent.objects.filter(action="apikey.rotate").count() == 1


def test_it_is_asked_first(operator):
    apikey = a_key()
    page = operator.post(KEYS, {"action": "rotate", "_selected_action": [str(apikey.pk)]})
    assert "Both secrets work for" in page.content.decode()
    assert ApiKey.objects.get(pk=apikey.pk).digest == apikey.digest


@pytest.mark.parametrize("action", ["rotate", "raise_budget"])
def test_one_key_at_a_time(operator, action):
    page = act(operator, action, a_key(), a_key())
    assert "select one key" in page.content.decode()


def test_a_revoked_key_is_not_rotated(operator):
    apikey = a_key()
    ApiKey.objects.filter(pk=apikey.pk).update(revoked_at=timezone.now())
    page = act(operator, "rotate", apikey, grace_s="0")
    assert "Nothing was done: The key is revoked" in page.content.decode()


def test_keys_change_plan_together(operator):
    plan, one, other = a_plan(rpm=7), a_key(), a_key()
    act(operator, "change_plan", one, other, plan=plan.pk)
    assert set(ApiKey.objects.values_list("plan", flat=True)) == {plan.pk}
    assert load_policy(one.digest).limits[0].limit == 7


def test_a_plan_s_budget_is_raised_for_the_key(operator):
    apikey = a_key(plan=a_plan(budgets=[a_spec(limit=100)]))
    pk = apikey.plan.budgets.get().pk
    act(operator, "raise_budget", apikey, budget=pk, amount="500", last_day=LATER)
    policy = load_policy(apikey.digest)
    assert [policy.limits[1].limit, policy.later.limits[1].limit] == [500, 100]
    # 4105123200 s is 2100-02-01: the midnight after that day.
    assert policy.until_ms == 4_105_123_200_000


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        pytest.param({"amount": "100"}, "that much already", id="no more than now"),
        pytest.param({"amount": "lots"}, "not a whole number", id="no number"),
        pytest.param({"last_day": "2020-01-01"}, "has passed already", id="a day of the past"),
    ],
)
def test_a_raise_that_is_none_is_asked_again(operator, fields, complaint):
    apikey = a_key(budgets=[a_spec(limit=100)])
    given = {"budget": apikey.budgets.get().pk, "amount": "500", "last_day": LATER}
    page = act(operator, "raise_budget", apikey, **given | fields)
    assert complaint in page.content.decode()
    assert apikey.budgets.get().raised_amount is None


def test_windows_of_the_plan_are_emptied_for_the_key(operator):
    apikey = a_key(plan=a_plan(budgets=[a_spec()]))
    act(operator, "reset", apikey)
    assert load_policy(apikey.digest).limits[1].reset_at_ms > 0


def test_a_lead_is_told_that_a_raise_is_too_much():
    team = a_team(plan=a_plan(budgets=[a_spec(limit=100)]))
    client, apikey = Client(), a_key(team=team, plan=team.plan)
    client.force_login(a_lead(team))
    pk = team.plan.budgets.get().pk
    page = act(client, "raise_budget", apikey, budget=pk, amount="500", last_day=LATER)
    assert "more than the team&#x27;s plan gives" in page.content.decode()
    assert load_policy(apikey.digest).limits[1].limit == 100
