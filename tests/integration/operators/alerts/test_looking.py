"""What is found is raised once, resolved when it is over, and raised again in another window."""

import datetime as dt
import json
import threading

import pytest
from django.db import connection
from django.utils import timezone

from keys.services import apikey_disable, apikey_update
from operators.alerts import looking
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import Alert, AlertDelivery
from operators.alerts.raising import alerts_forget, alerts_raise
from operators.alerts.services import target_add
from proxy.accounts import load_account
from proxy.models import UpstreamAccount
from proxy.services import upstream_add
from tests.factories import a_key, a_spec, a_team
from tests.integration.operators.alerts.conftest import settle

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
USD = 1_000_000_000


def levels(**filters):
    return sorted(Alert.objects.filter(**filters).values_list("threshold", flat=True))


def a_finding(**fields):
    given = {
        "kind": Kind.DRAIN,
        "subject": Subject.GATEWAY,
        "subject_id": 0,
        "subject_name": "",
        "team_id": None,
        "key": "drain",
        "slot": EPOCH,
        "text": "The ledger is behind.",
    }
    return Finding(**given | fields)


def test_a_budget_is_raised_once_however_often_one_looks(use):
    apikey = a_key(budgets=[a_spec(limit=1000)])
    use(apikey, 800)
    looking.look()
    looking.look()
    assert levels(kind="budget", subject_type="apikey", subject_id=apikey.pk) == [50, 75]


def test_only_the_highest_level_is_sent(use):
    target_add(name="ops", channel="email", address="ops@example.com", acting_user=None)
    use(a_key(budgets=[a_spec(limit=1000)]), 950)
    looking.look()
    assert [row.alert.threshold for row in AlertDelivery.objects.all()] == [90]


def test_a_team_is_told_of_once_for_all_its_keys(use):
    team = a_team(budgets=[a_spec(limit=1000)])
    for _ in range(2):
        use(a_key(team=team, budgets=[]), 500)
    looking.look()
    assert levels(subject_type="team", subject_id=team.pk) == [50]


def test_keys_that_nobody_uses_are_not_looked_at():
    a_key(budgets=[a_spec(limit=1000)])
    looking.look()
    assert not Alert.objects.exists()


def test_what_is_known_to_the_hour_alone_raises_nothing(valkey):
    settle(valkey, a_key(budgets=[a_spec(limit=100)]), timezone.now())
    looking.look()
    assert not Alert.objects.exists()


def test_a_window_that_is_empty_again_is_resolved(use, valkey):
    apikey = a_key(budgets=[a_spec(limit=1000)])
    use(apikey, 800)
    looking.look()
    valkey.flushdb()
    # No key was used this hour or the last; the open alert alone leads here.
    looking.look(timezone.now() + 5 * HOUR)
    assert levels(resolved_at=None) == []


def test_a_key_that_is_disabled_has_nothing_open(use):
    apikey = a_key(budgets=[a_spec(limit=1000)])
    use(apikey, 800)
    looking.look()
    apikey_disable(apikey=apikey, acting_user=None)
    looking.look()
    assert levels(resolved_at=None) == []


def test_it_is_raised_again_in_another_window_and_not_in_the_same():
    now = timezone.now()
    first = alerts_raise([a_finding()], now)
    Alert.objects.update(resolved_at=now)
    assert alerts_raise([a_finding()], now) == []
    second = alerts_raise([a_finding(slot=EPOCH + HOUR)], now)
    assert (len(first), len(second)) == (1, 1)


def test_what_is_still_open_is_not_raised_by_another_window():
    now = timezone.now()
    alerts_raise([a_finding()], now)
    assert alerts_raise([a_finding(slot=EPOCH + HOUR)], now) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_that_raise_at_once_one_does():
    raised, gate = [], threading.Barrier(4)

    def race():
        gate.wait()
        raised.extend(alerts_raise([a_finding()], timezone.now()))
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(raised), Alert.objects.count()) == (1, 1)


def test_keys_that_expire_are_raised_and_an_extended_one_is_resolved():
    apikey = a_key(expires_at=timezone.now() + 2 * DAY)
    looking.look_at_expiring()
    looking.look_at_expiring()
    assert levels(kind="expiring", resolved_at=None) == [7]
    later = {"expires_at": timezone.now() + 30 * DAY}
    apikey_update(apikey=apikey, changes=later, acting_user=None)
    looking.look_at_expiring()
    assert levels(kind="expiring", resolved_at=None) == []


def test_unusual_spend_is_held_against_the_last_two_weeks(valkey):
    apikey, steady = a_key(budgets=[]), a_key(budgets=[])
    now = timezone.now().replace(minute=30)
    for hours in range(1, 26):
        settle(valkey, apikey, now - hours * HOUR, USD // 2)
        settle(valkey, steady, now - hours * HOUR, 2 * USD)
    for key in (apikey, steady):
        settle(valkey, key, now.replace(minute=1), 2 * USD)
    looking.look(now)
    looking.look(now)
    assert list(Alert.objects.values_list("kind", "subject_id")) == [("spend", apikey.pk)]


def test_a_suspended_account_is_raised_and_resolved(sealing):
    account = upstream_add(
        name="main", base_url="http://127.0.0.1:9", credential="sk-ant-x", acting_user=None
    )
    suspended = {"suspended_at": timezone.now(), "suspended_reason": "refused"}
    suspended["suspended_fingerprint"] = load_account(account).fingerprint
    UpstreamAccount.objects.update(**suspended)
    looking.look()
    looking.look()
    assert Alert.objects.get().text == "Upstream account main is suspended: refused."
    UpstreamAccount.objects.update(suspended_at=None, suspended_fingerprint="")
    looking.look()
    assert Alert.objects.filter(resolved_at=None).count() == 0


@pytest.mark.parametrize(("left_s", "raised"), [(60, 0), (900, 1)])
def test_a_long_rest_is_raised_and_a_short_one_is_not(valkey, left_s, raised):
    account = upstream_add(name="main", base_url="http://127.0.0.1:9", acting_user=None)
    now_ms = valkey.time()[0] * 1000
    rest = {"since_ms": now_ms, "until_ms": now_ms + left_s * 1000, "strict": False}
    rest |= {"failures": 1, "fault": "down", "reason": "it is out"}
    field = f"{account.pk}.{load_account(account).fingerprint[:8]}"
    valkey.hset("claudcode:rest", field, json.dumps(rest))
    looking.look()
    assert Alert.objects.filter(kind="upstream").count() == raised


def test_a_ledger_that_is_behind_is_raised(valkey, settings):
    settings.DRAIN_LAG_S_MAX = 60
    valkey.xadd("{s00}:events", {"x": "1"}, id=f"{valkey.time()[0] * 1000 - 600_000}-0")
    looking.look()
    assert "The ledger is 10 m" in Alert.objects.get(kind="drain").text


def test_what_was_over_long_ago_is_forgotten():
    now = timezone.now()
    alerts_raise([a_finding(), a_finding(key="open")], now - 100 * DAY)
    Alert.objects.filter(key="drain").update(resolved_at=now - 99 * DAY)
    assert (alerts_forget(now), Alert.objects.get().key) == (1, "open")


def test_targets_are_told_of_their_kinds_and_their_team_alone():
    team = a_team()
    given = {"channel": "email", "address": "a@example.com", "acting_user": None}
    target_add(name="all", **given)
    target_add(name="spend", kinds=["spend"], **given)
    target_add(name="team", team=team, **given)
    target_add(name="off", enabled=False, **given)
    findings = [a_finding(), a_finding(key="b", kind=Kind.BUDGET, team_id=team.pk)]
    alerts_raise(findings, timezone.now())
    told = AlertDelivery.objects.values_list("target__name", "alert__key")
    assert sorted(told) == [("all", "b"), ("all", "drain"), ("team", "b")]


def test_pages_go_on_where_the_last_look_stopped(use, monkeypatch):
    monkeypatch.setattr(looking.keys, "PAGE", 1)
    monkeypatch.setattr(looking.keys, "SECONDS_MAX", -1.0)
    keys = [a_key(budgets=[a_spec(limit=1000)]) for _ in range(2)]
    for apikey in keys:
        use(apikey, 600)
    looking.look()
    assert Alert.objects.count() == 1
    looking.look()
    assert Alert.objects.count() == 2
