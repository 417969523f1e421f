import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from keys import services
from keys.core.access import KeyStatus
from keys.models import ApiKey, AuditEvent
from keys.policy import load_policy
from tests.factories import a_budget, a_key, a_key_and_secret, an_operator

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


def now_ms() -> int:
    return int(timezone.now().timestamp() * 1000)


def rotate(apikey, **fields):
    return services.apikey_rotate(apikey=apikey, acting_user=None, **fields)


def test_both_secrets_find_the_same_key():
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey)
    by_old, by_new = load_policy(old.digest), load_policy(new.digest)
    assert by_old.apikey_id == by_new.apikey_id == apikey.pk
    assert by_old.limits == by_new.limits
    assert (by_old.last_four, by_new.last_four) == (old.last_four, new.last_four)


def test_the_secret_before_ends_with_its_grace_and_the_key_does_not():
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey, grace=HOUR)
    later = now_ms() + 3_600_001
    assert load_policy(old.digest).status(later) is KeyStatus.EXPIRED
    assert load_policy(old.digest).status(later - 60_000) is KeyStatus.ACTIVE
    assert load_policy(new.digest).status(later) is KeyStatus.ACTIVE


def test_a_key_s_own_end_comes_before_a_longer_grace():
    apikey, old = a_key_and_secret(expires_at=timezone.now() + HOUR)
    rotate(apikey, grace=2 * HOUR)
    expires_at_ms = load_policy(apikey.digest).expires_at_ms
    assert load_policy(old.digest).expires_at_ms == expires_at_ms


def test_without_grace_the_secret_before_is_a_stranger_at_once():
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey, grace=dt.timedelta(0))
    assert load_policy(old.digest) is None
    assert load_policy(new.digest).apikey_id == apikey.pk


def test_a_key_has_two_secrets_at_most():
    apikey, first = a_key_and_secret()
    _, second = rotate(apikey)
    _, third = rotate(apikey)
    found = [load_policy(secret.digest) for secret in (first, second, third)]
    assert [policy is not None for policy in found] == [False, True, True]


def test_a_grace_can_be_ended_early():
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey)
    assert services.apikey_end_grace(apikey=apikey, acting_user=None) is True
    assert load_policy(old.digest) is None
    assert load_policy(new.digest) is not None
    assert services.apikey_end_grace(apikey=apikey, acting_user=None) is False
    assert AuditEvent.objects.filter(action="apikey.end_grace").count() == 1


def test_a_revoked_key_is_refused_by_either_secret():
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey)
    services.apikey_revoke(apikey=apikey, acting_user=None)
    states = {load_policy(secret.digest).status(now_ms()) for secret in (old, new)}
    assert states == {KeyStatus.REVOKED}


@pytest.mark.parametrize(
    "grace",
    [
        pytest.param(dt.timedelta(days=30, seconds=1), id="too long"),
        pytest.param(dt.timedelta(seconds=-1), id="negative"),
    ],
)
def test_a_grace_is_bounded(grace):
    apikey = a_key()
    with pytest.raises(ValidationError, match="0 to 30 days"):
        rotate(apikey, grace=grace)
    assert ApiKey.objects.get(pk=apikey.pk).digest == apikey.digest


def test_a_dead_key_gets_no_secret():
    revoked, expired = a_key(), a_key(expires_at=timezone.now() + HOUR)
    services.apikey_revoke(apikey=revoked, acting_user=None)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    with pytest.raises(ValidationError, match="for ever"):
        rotate(revoked)
    with pytest.raises(ValidationError, match="Extend it first"):
        rotate(expired)


def test_a_rotation_is_audited_without_a_secret():
    apikey, old = a_key_and_secret()
    operator = an_operator()
    _, new = services.apikey_rotate(apikey=apikey, acting_user=operator)
    event = AuditEvent.objects.order_by("-id")[0]
    assert (event.action, event.actor, event.target_id) == ("apikey.rotate", operator, apikey.pk)
    assert event.detail["prefix"] == [old.prefix, new.prefix]
    row = str(ApiKey.objects.filter(pk=apikey.pk).values().get())
    assert not any(secret.text in row + str(event.detail) for secret in (old, new))


def test_budgets_and_windows_stay_the_key_s():
    apikey = a_key(budgets=[])
    a_budget(apikey)
    before = load_policy(apikey.digest).limits
    _, new = rotate(apikey)
    assert load_policy(new.digest).limits == before


def test_gateways_hear_of_both_secrets(heard):
    apikey, old = a_key_and_secret()
    news = []
    told = heard(lambda: news.append(rotate(apikey)[1]))
    assert set(told) == {old.digest, news[0].digest}
    stored = ApiKey.objects.get(pk=apikey.pk)
    revoked = heard(lambda: services.apikey_revoke(apikey=stored, acting_user=None))
    assert set(revoked) == {old.digest, news[0].digest}


def test_gateways_hear_of_a_secret_that_is_dropped(heard):
    apikey, first = a_key_and_secret()
    rotate(apikey)
    assert first.digest in heard(lambda: rotate(apikey))


def test_a_revocation_by_a_stale_row_reaches_the_new_secret(heard):
    stale, _ = a_key_and_secret()
    _, new = rotate(stale)
    assert new.digest in heard(lambda: services.apikey_revoke(apikey=stale, acting_user=None))


def test_a_policy_by_either_secret_costs_two_queries(django_assert_num_queries):
    apikey, old = a_key_and_secret()
    _, new = rotate(apikey)
    with django_assert_num_queries(4):
        load_policy(old.digest)
        load_policy(new.digest)
