import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from keys import services
from keys.core.access import Hangup
from keys.core.limits import Concurrency, Limit, Unit
from keys.core.terms import INHERITABLE
from keys.models import ApiKey, AuditEvent, InheritedWindow, Plan
from keys.policy import load_policies, load_policy
from tests.factories import a_budget, a_key, a_plan, a_spec, a_team

pytestmark = pytest.mark.django_db


def last_event() -> AuditEvent:
    return AuditEvent.objects.order_by("-id")[0]


def a_follower(plan: Plan, **fields) -> ApiKey:
    """A key that follows the plan in all that is not given; the factory alone says no cache."""
    apikey, _ = services.apikey_issue(name="follower", plan=plan, acting_user=None, **fields)
    return apikey


def budgets_of(apikey: ApiKey) -> list[tuple[str, int, int]]:
    limits = load_policy(apikey.digest).limits
    return [(li.unit, li.window_s, li.limit) for li in limits if li.unit is not Unit.REQUESTS]


# --- What a key takes from its plan --------------------------------------------------------------


def test_a_key_follows_its_plan_in_everything():
    plan = a_plan(
        rpm=7,
        concurrency=None,
        wait_s=20,
        models=["claude-haiku-*"],
        cache_enabled=False,
        hangup="drain",
        budgets=[a_spec(limit=70)],
    )
    apikey = a_follower(plan)
    policy = load_policy(apikey.digest)
    scope = f"k{apikey.pk}.0"
    assert policy.limits == (
        Limit(scope, Unit.REQUESTS, 60, 7),
        Limit(scope, Unit.TOKENS, 3600, 70),
    )
    assert policy.concurrencies == (Concurrency(scope, None),)
    assert (policy.wait_s, policy.models) == (20, ("claude-haiku-*",))
    assert (policy.cache, policy.hangup) == (False, Hangup.DRAIN)


@pytest.mark.parametrize(
    ("field", "own", "read"),
    [
        pytest.param("rpm", None, lambda p: p.limits, id="requests"),
        pytest.param("concurrency", 9, lambda p: p.concurrencies[0].limit, id="in flight"),
        pytest.param("wait_s", 9, lambda p: p.wait_s, id="wait"),
        pytest.param("models", ["claude-opus-*"], lambda p: p.models, id="models"),
        pytest.param("cache_enabled", False, lambda p: p.cache, id="cache"),
        pytest.param("hangup", Hangup.DRAIN, lambda p: p.hangup, id="hang-up"),
    ],
)
def test_one_field_is_the_key_s_own_and_the_rest_the_plan_s(field, own, read):
    plan = a_plan()
    apikey = a_follower(plan, **{field: own})
    expected = load_policy(a_key(rpm=60, budgets=[], cache_enabled=True).digest)
    alone = load_policy(
        services.apikey_issue(name="x", budgets=[], acting_user=None, **{field: own})[0].digest
    )
    assert apikey.inherited == sorted(set(INHERITABLE) - {field})
    got = load_policy(apikey.digest)
    if field != "rpm":
        assert read(got) == read(alone) != read(expected)
    assert len(got.limits) == len(alone.limits)


def test_unlimited_is_not_the_same_as_inherited():
    plan = a_plan(rpm=7)
    assert load_policy(a_follower(plan, rpm=None).digest).limits == ()
    assert [limit.limit for limit in load_policy(a_follower(plan).digest).limits] == [7]


def test_a_plan_without_budgets_gives_none():
    assert budgets_of(a_follower(a_plan())) == []


def test_a_key_s_budget_takes_the_place_of_the_plan_s_of_its_window_alone():
    plan = a_plan(budgets=[a_spec(limit=70), a_spec(window_s=60, limit=7)])
    apikey = a_follower(plan, budgets=[a_spec(limit=100), a_spec(unit=Unit.NANOUSD, limit=5)])
    assert budgets_of(apikey) == [("tok", 3600, 100), ("usd", 3600, 5), ("tok", 60, 7)]


def test_a_key_s_unlimited_budget_lifts_the_plan_s():
    plan = a_plan(budgets=[a_spec(limit=70)])
    assert budgets_of(a_follower(plan, budgets=[a_spec(limit=None)])) == []


def test_without_its_own_the_plan_s_budget_binds_again():
    apikey = a_follower(a_plan(budgets=[a_spec(limit=70)]), budgets=[a_spec(limit=100)])
    services.budget_remove(budget=apikey.budgets.get(), acting_user=None)
    assert budgets_of(apikey) == [("tok", 3600, 70)]


def test_the_team_s_limits_come_after_the_plan_s():
    team = a_team(rpm=600, budgets=[a_spec(limit=9)])
    apikey = a_follower(a_plan(budgets=[a_spec(limit=70)]), team=team)
    assert [limit.limit for limit in load_policy(apikey.digest).limits] == [60, 70, 600, 9]


def test_keys_of_one_plan_have_windows_of_their_own():
    plan = a_plan(budgets=[a_spec()])
    policies = load_policies([a_follower(plan), a_follower(plan)])
    assert len({policy.limits[1].window_name for policy in policies.values()}) == 2


@pytest.mark.parametrize("budgets", [0, 5])
def test_a_policy_with_a_plan_costs_three_queries(budgets, django_assert_num_queries):
    plan = a_plan(budgets=[a_spec(window_s=60 + n) for n in range(budgets)])
    apikey = a_follower(plan, team=a_team(budgets=[a_spec()]), budgets=[a_spec()])
    with django_assert_num_queries(3):
        load_policy(apikey.digest)


def test_many_policies_cost_no_more(django_assert_num_queries):
    plans = [a_plan(budgets=[a_spec()]) for _ in range(2)]
    for plan in [*plans, *plans]:
        a_follower(plan, team=a_team())
    apikeys = list(ApiKey.objects.select_related("team", "plan"))
    with django_assert_num_queries(2):
        load_policies(apikeys)


# --- Plans ---------------------------------------------------------------------------------------


def test_a_plan_s_change_reaches_its_keys():
    plan = a_plan(rpm=7)
    apikey = a_follower(plan)
    services.plan_update(plan=plan, changes={"rpm": 8}, acting_user=None)
    assert load_policy(apikey.digest).limits[0].limit == 8
    assert (last_event().action, last_event().detail) == ("plan.update", {"rpm": [7, 8]})


def test_a_change_of_nothing_leaves_no_trace():
    plan = a_plan(rpm=7)
    services.plan_update(plan=plan, changes={"rpm": 7}, acting_user=None)
    assert last_event().action == "plan.create"


def test_a_plan_that_somebody_follows_is_not_deleted():
    plan = a_plan()
    a_follower(plan)
    with pytest.raises(ProtectedError), transaction.atomic():
        services.plan_delete(plan=plan, acting_user=None)
    assert Plan.objects.filter(pk=plan.pk).exists()


def test_a_plan_that_nobody_follows_is_deleted():
    plan = a_plan(budgets=[a_spec()])
    services.plan_delete(plan=plan, acting_user=None)
    assert not Plan.objects.exists()
    assert (last_event().action, last_event().detail) == ("plan.delete", {"name": plan.name})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        pytest.param({"rpm": -1}, "rpm", id="negative rpm"),
        pytest.param({"wait_s": 61}, "wait_s", id="a long wait"),
        pytest.param({"models": ["claude-opus-4.6"]}, "models", id="a slip in a model"),
        pytest.param({"hangup": "cling"}, "hangup", id="an unknown habit"),
        pytest.param({"budgets": [a_spec(), a_spec()]}, "__all__", id="two of one window"),
    ],
)
def test_a_bad_value_makes_no_plan(fields, complaint):
    with pytest.raises(ValidationError) as raised:
        a_plan(**fields)
    assert complaint in raised.value.message_dict
    assert not Plan.objects.exists()
    assert not AuditEvent.objects.exists()


# --- Moving between plans ------------------------------------------------------------------------


def test_what_is_said_for_the_key_is_its_own_from_then_on():
    apikey = a_follower(a_plan(rpm=7))
    stored = services.apikey_update(apikey=apikey, changes={"rpm": 60}, acting_user=None)
    # 60 is what slept in the row all along: only who is followed has changed.
    assert "rpm" not in stored.inherited
    assert load_policy(apikey.digest).limits[0].limit == 60
    assert list(last_event().detail) == ["inherited"]


def test_a_field_follows_the_plan_again():
    apikey = a_follower(a_plan(rpm=7), rpm=9)
    everything = {"inherited": list(INHERITABLE)}
    services.apikey_update(apikey=apikey, changes=everything, acting_user=None)
    assert load_policy(apikey.digest).limits[0].limit == 7


def test_a_key_put_on_a_plan_follows_it_and_loses_its_own():
    apikey, plan = a_key(rpm=1000), a_plan(rpm=7, budgets=[a_spec(limit=70)])
    services.apikey_change_plan(apikey=apikey, plan=plan, acting_user=None)
    assert [limit.limit for limit in load_policy(apikey.digest).limits] == [7, 70]
    event = last_event()
    assert event.action == "apikey.change_plan"
    assert event.detail["budgets_removed"] == ["5,000,000 tokens / 5h"]


def test_a_key_put_on_a_plan_can_keep_its_own():
    apikey, plan = a_key(rpm=1000), a_plan(rpm=7, budgets=[a_spec(limit=70)])
    services.apikey_change_plan(apikey=apikey, plan=plan, keep_own=True, acting_user=None)
    assert [limit.limit for limit in load_policy(apikey.digest).limits] == [1000, 5_000_000, 70]


def test_a_key_that_leaves_its_plan_keeps_what_it_had():
    apikey = a_follower(a_plan(rpm=7, wait_s=20, budgets=[a_spec(limit=70)]), concurrency=3)
    before = load_policy(apikey.digest)
    services.apikey_change_plan(apikey=apikey, plan=None, acting_user=None)
    assert load_policy(apikey.digest) == before
    stored = ApiKey.objects.get(pk=apikey.pk)
    assert (stored.plan, stored.inherited, stored.rpm) == (None, [], 7)


def test_a_window_that_was_emptied_stays_so_when_its_budget_changes_hands(valkey):
    apikey = a_follower(a_plan(budgets=[a_spec()]))
    plans = apikey.plan.budgets.get()
    services.budget_reset(budget=plans, apikey=apikey, acting_user=None)
    reset_at_ms = load_policy(apikey.digest).limits[1].reset_at_ms
    own = a_budget(apikey, limit=5)
    assert reset_at_ms == load_policy(apikey.digest).limits[1].reset_at_ms > 0
    services.budget_remove(budget=own, acting_user=None)
    assert load_policy(apikey.digest).limits[1].reset_at_ms == reset_at_ms


def test_a_reset_of_one_key_s_window_is_nobody_else_s(valkey):
    plan = a_plan(budgets=[a_spec()])
    one, other = a_follower(plan), a_follower(plan)
    services.budget_reset(budget=plan.budgets.get(), apikey=one, acting_user=None)
    assert load_policy(one.digest).limits[1].reset_at_ms > 0
    assert load_policy(other.digest).limits[1].reset_at_ms == 0
    assert (last_event().action, last_event().target_id) == ("budget.reset", one.pk)


def test_a_plan_s_window_cannot_be_emptied_for_everybody():
    plan = a_plan(budgets=[a_spec()])
    with pytest.raises(ValidationError, match="say whose"):
        services.budget_reset(budget=plan.budgets.get(), acting_user=None)


def test_a_raise_does_not_go_along_to_the_next_plan():
    apikey = a_follower(a_plan(budgets=[a_spec(limit=70)]))
    services.budget_raise(
        budget=apikey.plan.budgets.get(),
        apikey=apikey,
        limit=1000,
        until=timezone.now() + dt.timedelta(days=1),
        acting_user=None,
    )
    next_plan = a_plan(budgets=[a_spec(limit=7)])
    services.apikey_change_plan(apikey=apikey, plan=next_plan, acting_user=None)
    assert budgets_of(apikey) == [("tok", 3600, 7)]


# --- Rows ----------------------------------------------------------------------------------------


def test_only_a_key_with_a_plan_follows_one():
    with pytest.raises(IntegrityError, match="apikey_inherits_of_a_plan"), transaction.atomic():
        ApiKey.objects.filter(pk=a_key().pk).update(inherited=["rpm"])


def test_only_what_a_plan_has_is_inherited():
    apikey = a_follower(a_plan())
    with pytest.raises(ValidationError):
        services.apikey_update(apikey=apikey, changes={"inherited": ["cidrs"]}, acting_user=None)


def test_a_key_issued_without_a_plan_follows_none():
    stored = ApiKey.objects.get(pk=a_key().pk)
    assert (stored.plan, stored.inherited, InheritedWindow.objects.count()) == (None, [], 0)
