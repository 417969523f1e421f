import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from keys import services
from keys.core.access import KeyStatus
from keys.models import AuditEvent, Budget
from keys.policy import load_policy
from tests.factories import a_budget, a_key, a_plan, a_spec, a_team

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def now_ms() -> int:
    return int(timezone.now().timestamp() * 1000)


def limits(policy) -> list[int]:
    return [limit.limit for limit in policy.limits if limit.unit == "tok"]


def raise_to(budget, limit, until=None, **fields):
    until = until or timezone.now() + DAY
    services.budget_raise(budget=budget, limit=limit, until=until, acting_user=None, **fields)


def test_a_raise_holds_until_its_date_and_ends_in_what_is_cached():
    apikey = a_key(budgets=[a_spec(limit=100)])
    raise_to(apikey.budgets.get(), 500, until=timezone.now() + DAY)
    policy = load_policy(apikey.digest)
    assert limits(policy) == [500]
    assert limits(policy.at(now_ms())) == [500]
    assert limits(policy.at(policy.until_ms)) == [100]
    assert policy.at(policy.until_ms).later is None


def test_the_instant_is_the_one_that_was_said():
    apikey = a_key(budgets=[a_spec(limit=100)])
    raise_to(apikey.budgets.get(), 500, until=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
    assert load_policy(apikey.digest).until_ms == 4_102_444_800_000


def test_raises_end_one_after_the_other():
    team = a_team(budgets=[a_spec(limit=1000)])
    apikey = a_key(team=team, budgets=[a_spec(limit=100), a_spec(window_s=60, limit=10)])
    first, second = apikey.budgets.all()
    raise_to(first, 500, until=timezone.now() + 2 * DAY)
    raise_to(second, 50, until=timezone.now() + DAY)
    raise_to(team.budgets.get(), 5000, until=timezone.now() + 3 * DAY)
    policy, day_ms, began_ms = load_policy(apikey.digest), 86_400_000, now_ms()
    days = [limits(policy.at(began_ms + day_ms * days + 1000)) for days in range(4)]
    assert days == [[500, 50, 5000], [500, 10, 5000], [100, 10, 5000], [100, 10, 1000]]


def test_a_raise_that_is_over_is_gone_from_a_fresh_policy():
    apikey = a_key(budgets=[a_spec(limit=100)])
    past = timezone.now() - DAY
    Budget.objects.update(raised_amount=500, raised_until=past)
    policy = load_policy(apikey.digest)
    assert (limits(policy), policy.until_ms, policy.later) == ([100], None, None)


def test_a_plan_s_budget_is_raised_for_one_key():
    plan = a_plan(budgets=[a_spec(limit=100)])
    one, other = a_key(plan=plan), a_key(plan=plan)
    raise_to(plan.budgets.get(), 500, apikey=one)
    assert limits(load_policy(one.digest)) == [500]
    assert limits(load_policy(one.digest).later) == [100]
    assert limits(load_policy(other.digest)) == [100]


def test_a_plan_s_budget_is_raised_for_all_of_its_keys():
    plan = a_plan(budgets=[a_spec(limit=100)])
    apikey = a_key(plan=plan)
    raise_to(plan.budgets.get(), 500)
    assert limits(load_policy(apikey.digest)) == [500]


def test_a_key_s_budget_of_another_plan_is_not_raised():
    plan, other = a_plan(budgets=[a_spec()]), a_plan()
    with pytest.raises(ValidationError, match="does not follow"):
        raise_to(plan.budgets.get(), 5000, apikey=a_key(plan=other))


def test_a_raise_replaces_the_one_before():
    apikey = a_key(budgets=[a_spec(limit=100)])
    budget = apikey.budgets.get()
    raise_to(budget, 500)
    raise_to(budget, 300)
    assert limits(load_policy(apikey.digest)) == [300]


def test_a_raise_is_ended_early():
    apikey = a_key(budgets=[a_spec(limit=100)])
    budget = apikey.budgets.get()
    raise_to(budget, 500)
    services.budget_raise_end(budget=budget, acting_user=None)
    assert limits(load_policy(apikey.digest)) == [100]
    services.budget_raise_end(budget=budget, acting_user=None)
    assert AuditEvent.objects.filter(action="budget.raise_end").count() == 1


@pytest.mark.parametrize(
    ("limit", "until", "complaint"),
    [
        pytest.param(100, DAY, "limit", id="no more than now"),
        pytest.param(2**53, DAY, "raised_amount", id="more than can be counted"),
        pytest.param(500, -DAY, "until", id="over already"),
    ],
)
def test_a_raise_that_is_none_is_refused(limit, until, complaint):
    apikey = a_key(budgets=[a_spec(limit=100)])
    with pytest.raises(ValidationError) as raised:
        raise_to(apikey.budgets.get(), limit, until=timezone.now() + until)
    assert complaint in raised.value.message_dict
    assert not AuditEvent.objects.filter(action="budget.raise").exists()


def test_an_unlimited_budget_is_not_raised():
    apikey = a_key(budgets=[a_spec(limit=None)])
    with pytest.raises(ValidationError):
        raise_to(apikey.budgets.get(), 500)


def test_a_raise_is_audited_on_its_key():
    apikey = a_key(budgets=[])
    raise_to(a_budget(apikey), 5000)
    event = AuditEvent.objects.order_by("-id")[0]
    assert (event.action, event.target_id) == ("budget.raise", apikey.pk)
    assert event.detail["budget"] == "1,000 tokens / 1h"
    assert event.detail["raised_to"] == "5,000 tokens"


def test_gateways_hear_of_a_raise(heard):
    apikey = a_key(budgets=[])
    budget = a_budget(apikey)
    assert heard(lambda: raise_to(budget, 5000)) == [apikey.digest]


# --- Extending -----------------------------------------------------------------------------------


def extend(apikey, expires_at):
    return services.apikey_extend(apikey=apikey, expires_at=expires_at, acting_user=None)


@pytest.mark.parametrize("later", [dt.timedelta(days=9), None], ids=["longer", "for ever"])
def test_a_key_is_extended(later):
    apikey = a_key(expires_at=timezone.now() + DAY)
    wanted = later and timezone.now() + later
    assert extend(apikey, wanted).expires_at == wanted
    assert AuditEvent.objects.order_by("-id")[0].action == "apikey.extend"


def test_an_expired_key_lives_again():
    apikey = a_key(expires_at=timezone.now() + DAY)
    type(apikey).objects.update(expires_at=timezone.now() - DAY)
    extend(apikey, timezone.now() + DAY)
    assert load_policy(apikey.digest).status(now_ms()) is KeyStatus.ACTIVE


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        pytest.param(None, DAY, id="it never expires"),
        pytest.param(2 * DAY, DAY, id="it lives longer"),
        pytest.param(2 * DAY, -DAY, id="into the past"),
    ],
)
def test_a_key_is_not_extended_to_less(has, wanted):
    apikey = a_key(expires_at=has and timezone.now() + has)
    with pytest.raises(ValidationError):
        extend(apikey, timezone.now() + wanted)


def test_a_revoked_key_is_not_extended():
    apikey = a_key(expires_at=timezone.now() + DAY)
    services.apikey_revoke(apikey=apikey, acting_user=None)
    with pytest.raises(ValidationError, match="for ever"):
        extend(apikey, None)
