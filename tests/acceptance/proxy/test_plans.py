"""Plans, rotation and raised budgets, as a developer meets them at a running gateway."""

import datetime as dt

import pytest
from django.utils import timezone

from keys import services
from tests.acceptance.developer import Developer
from tests.factories import a_plan, a_spec
from tests.waiting import wait_until

# A change is obeyed within a second.
SOON_S = 1.0


@pytest.fixture
def on_a_plan(a_developer):
    """Makes developers whose key follows the plan in everything but the cache."""

    def make(plan) -> Developer:
        return a_developer(plan=plan)

    return make


def a_day_hence() -> dt.datetime:
    return timezone.now() + dt.timedelta(days=1)


def test_a_key_obeys_its_plan_and_its_plan_s_changes(installation, on_a_plan):
    plan = a_plan(rpm=1)
    developer = on_a_plan(plan)
    assert [developer.ask().status_code for _ in range(2)] == [200, 429]
    services.plan_update(plan=plan, changes={"rpm": 100}, acting_user=None)
    wait_until(lambda: developer.ask().status_code == 200, seconds=SOON_S)


def test_what_is_the_key_s_own_outlives_a_change_of_the_plan(installation, on_a_plan):
    plan = a_plan(rpm=1)
    developer, other = on_a_plan(plan), on_a_plan(plan)
    own = {"models": ["claude-opus-4-6"]}
    services.apikey_update(apikey=developer.apikey, changes=own, acting_user=None)
    services.plan_update(plan=plan, changes={"rpm": 0, "models": []}, acting_user=None)
    wait_until(lambda: other.ask().status_code == 429, seconds=SOON_S)
    assert developer.status()["models"] == ["claude-opus-4-6"]


def test_a_plan_s_budget_counts_for_each_key_apart(installation, on_a_plan):
    plan = a_plan(budgets=[a_spec(limit=1)])
    one, other = on_a_plan(plan), on_a_plan(plan)
    assert [one.ask().status_code, one.ask().status_code] == [200, 429]
    assert other.ask().status_code == 200


def test_both_secrets_open_the_key_until_the_grace_is_over(http, gateway, a_developer):
    before = a_developer(rpm=None)
    assert before.ask().status_code == 200
    grace = dt.timedelta(seconds=4)
    apikey, secret = services.apikey_rotate(apikey=before.apikey, grace=grace, acting_user=None)
    after = Developer(http, gateway.url, apikey, secret)
    assert (after.ask().status_code, before.ask().status_code) == (200, 200)
    wait_until(lambda: before.ask().status_code == 401, seconds=4 + SOON_S)
    assert after.ask().status_code == 200


def test_without_grace_the_secret_before_is_refused_within_a_second(http, gateway, a_developer):
    before = a_developer(rpm=None)
    assert before.ask().status_code == 200
    none = dt.timedelta(0)
    apikey, secret = services.apikey_rotate(apikey=before.apikey, grace=none, acting_user=None)
    wait_until(lambda: before.ask().status_code == 401, seconds=SOON_S)
    assert Developer(http, gateway.url, apikey, secret).ask().status_code == 200


def test_a_revoked_key_is_refused_by_both_secrets_within_a_second(http, gateway, a_developer):
    before = a_developer(rpm=None)
    apikey, secret = services.apikey_rotate(apikey=before.apikey, acting_user=None)
    after = Developer(http, gateway.url, apikey, secret)
    assert (after.ask().status_code, before.ask().status_code) == (200, 200)
    services.apikey_revoke(apikey=apikey, acting_user=None)
    wait_until(
        lambda: (after.ask().status_code, before.ask().status_code) == (401, 401), seconds=SOON_S
    )


def test_a_raise_lets_in_until_its_date_and_ends_by_itself(installation, a_developer):
    developer = a_developer(rpm=None, budgets=[a_spec(limit=1)])
    assert [developer.ask().status_code for _ in range(2)] == [200, 429]
    services.budget_raise(
        budget=developer.apikey.budgets.get(),
        limit=1_000_000,
        until=timezone.now() + dt.timedelta(seconds=3),
        acting_user=None,
    )
    wait_until(lambda: developer.ask().status_code == 200, seconds=SOON_S)
    # Nobody tells the gateway of the end: what it has cached knows.
    wait_until(lambda: developer.ask().status_code == 429, seconds=3 + SOON_S)


def test_a_raise_of_a_plan_s_budget_is_one_key_s(installation, on_a_plan):
    plan = a_plan(budgets=[a_spec(limit=1)])
    one, other = on_a_plan(plan), on_a_plan(plan)
    assert [d.ask().status_code for d in (one, other)] == [200, 200]
    assert [d.ask().status_code for d in (one, other)] == [429, 429]
    services.budget_raise(
        budget=plan.budgets.get(),
        apikey=one.apikey,
        limit=1_000_000,
        until=a_day_hence(),
        acting_user=None,
    )
    wait_until(lambda: one.ask().status_code == 200, seconds=SOON_S)
    assert other.ask().status_code == 429
