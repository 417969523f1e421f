"""The life of a key over the management API: its secrets, its end, its plan, its raised budgets."""

import datetime as dt

import pytest
from django.utils import timezone

from keys.models import ApiKey, Budget, InheritedWindow
from keys.services import apikey_revoke, apikey_rotate
from tests.factories import a_budget, a_key, a_plan, a_spec, a_team
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

TOMORROW = (timezone.now() + dt.timedelta(days=1)).replace(microsecond=0)
RAISE = {"limit": 9_000, "until": TOMORROW.isoformat()}
HOUR = {"unit": "tokens", "window_s": 3600}


@pytest.fixture
def api() -> ApiClient:
    return ApiClient("keys:*", "plans:*", "teams:*")


def test_a_grace_ends_before_its_time(api):
    apikey = a_key()
    apikey_rotate(apikey=apikey, acting_user=None)
    answer = api.post(f"keys/{apikey.pk}/end-grace")
    assert (answer.status_code, answer.json()["previous_expires_at"]) == (200, None)
    assert ApiKey.objects.get(pk=apikey.pk).previous_digest is None


def test_an_expired_key_lives_again(api):
    apikey = a_key()
    ApiKey.objects.update(expires_at=timezone.now() - dt.timedelta(days=1))
    answer = api.post(f"keys/{apikey.pk}/extend", {"expires_at": TOMORROW.isoformat()})
    assert (answer.status_code, answer.json()["status"]) == (200, "active")
    sooner = {"expires_at": (TOMORROW - dt.timedelta(hours=1)).isoformat()}
    assert api.post(f"keys/{apikey.pk}/extend", sooner).status_code == 422


def test_a_revoked_key_is_not_extended(api):
    apikey = a_key(expires_at=TOMORROW)
    apikey_revoke(apikey=apikey, acting_user=None)
    assert api.post(f"keys/{apikey.pk}/extend", {"expires_at": None}).status_code == 409


def test_a_key_follows_a_plan_in_everything_or_keeps_its_own(api):
    plan, all_of_it, own = a_plan(rpm=7), a_key(rpm=3), a_key(rpm=3)
    api.post(f"keys/{all_of_it.pk}/change-plan", {"plan_id": plan.pk})
    api.post(f"keys/{own.pk}/change-plan", {"plan_id": plan.pk, "keep_own": True})
    shown = [api.get(f"keys/{key.pk}").json() for key in (all_of_it, own)]
    assert [key["plan_id"] for key in shown] == [plan.pk, plan.pk]
    assert ["rpm" in key["inherited"] for key in shown] == [True, False]
    assert [len(key["budgets"]) for key in shown] == [0, 1]


def test_a_budget_is_raised_until_a_date_and_the_raise_ended(api):
    team = a_team()
    path = f"teams/{team.pk}/budgets/{a_budget(team).pk}"
    raised = api.post(f"{path}/raise", RAISE).json()
    assert (raised["limit"], raised["raised_to"]) == (1_000, 9_000)
    assert dt.datetime.fromisoformat(raised["raised_until"]) == TOMORROW
    assert api.post(f"{path}/end-raise").json()["raised_to"] is None


def test_a_raise_must_be_more_and_must_have_an_end_to_come(api):
    plan = a_plan(budgets=[a_spec()])
    path = f"plans/{plan.pk}/budgets/{plan.budgets.get().pk}/raise"
    assert api.post(path, RAISE | {"limit": 1_000}).status_code == 422
    assert api.post(path, RAISE | {"until": "2020-01-01T00:00:00Z"}).status_code == 422
    assert Budget.objects.get().raised_amount is None


def test_the_budget_of_a_plan_is_raised_for_one_key_alone(api):
    plan = a_plan(budgets=[a_spec()])
    apikey, _other = (a_key(plan=plan) for _ in range(2))
    assert api.post(f"keys/{apikey.pk}/raise-budget", HOUR | RAISE).status_code == 200
    window = InheritedWindow.objects.get()
    assert (window.apikey, window.raised_amount) == (apikey, 9_000)
    assert plan.budgets.get().raised_amount is None
    assert api.post(f"keys/{apikey.pk}/end-raise", HOUR).status_code == 200
    assert InheritedWindow.objects.get().raised_amount is None


def test_a_budget_that_does_not_bind_the_key_is_not_raised(api):
    path = f"keys/{a_key(budgets=[]).pk}/raise-budget"
    assert api.post(path, HOUR | RAISE).status_code == 422
