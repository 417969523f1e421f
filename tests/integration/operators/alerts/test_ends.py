"""Who was told of an alert is told once that it is over, and not before it is."""

import datetime as dt
import json
import threading

import pytest
from django.db import connection
from django.utils import timezone

from keys.models import ApiKey
from keys.services import apikey_extend
from operators.alerts import looking
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.core.webhook import ATTEMPTS_MAX
from operators.alerts.delivery import deliver
from operators.alerts.models import Alert, AlertDelivery, AlertTarget, Event
from operators.alerts.raising import alerts_end, alerts_raise
from operators.alerts.services import delivery_replay, target_add
from tests.factories import a_key
from tests.integration.operators.alerts.test_delivery import signed_by

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def found(key="drain", **fields):
    given = {"kind": Kind.DRAIN, "subject": Subject.GATEWAY, "subject_id": 0, "subject_name": ""}
    given |= {"team_id": None, "key": key, "slot": EPOCH, "text": f"{key} is so."}
    return Finding(**given | fields)


def level(percent, **fields):
    given = {"kind": Kind.BUDGET, "threshold": percent, "text": f"{percent} % is used."}
    return found(f"budget w1 {percent}", **given | fields)


def end(*keys):
    return alerts_end(Alert.objects.filter(key__in=keys), timezone.now())


def ends():
    told = AlertDelivery.objects.filter(event=Event.RESOLVED)
    return sorted(told.values_list("alert__key", flat=True))


def come_due():
    AlertDelivery.objects.filter(next_at__isnull=False).update(next_at=timezone.now())
    deliver()


@pytest.fixture
def told(db):
    target_add(name="ops", channel="email", address="ops@example.com", acting_user=None)


def test_a_receiver_is_told_that_it_is_over_and_can_check_who_says_so(webhook, receiver):
    (alert,) = alerts_raise([found()], timezone.now())
    deliver()
    end("drain")
    deliver()
    raised, over = (json.loads(body) for _headers, body in receiver.calls)
    assert (raised["type"], over["type"]) == ("alert.raised", "alert.resolved")
    assert raised["id"] == over["id"] == f"alert_{alert.pk}"
    assert over["resolved_at"] >= over["raised_at"]
    assert over["text"].endswith("drain is so.")
    assert all(signed_by(webhook[1], call) for call in receiver.calls)


def test_it_is_told_once_however_often_one_looks(told):
    alerts_raise([found()], timezone.now())
    assert [end("drain"), end("drain")] == [1, 0]
    assert ends() == ["drain"]


@pytest.mark.django_db(transaction=True)
def test_of_many_that_look_at_once_one_tells(told):
    alerts_raise([found()], timezone.now())
    gate = threading.Barrier(4)

    def race():
        gate.wait()
        end("drain")
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends() == ["drain"]


def test_a_budget_is_over_when_its_lowest_level_is(told):
    now = timezone.now()
    for percent in (50, 75, 90):
        alerts_raise([level(percent)], now)
    end("budget w1 90")
    assert ends() == []
    end("budget w1 75", "budget w1 50")
    assert ends() == ["budget w1 90"]


def test_levels_that_were_reached_at_once_are_over_at_once(told):
    alerts_raise([level(50, quiet=True), level(75)], timezone.now())
    end("budget w1 50", "budget w1 75")
    assert ends() == ["budget w1 75"]


def test_another_budget_that_is_still_used_up_holds_nothing_back(told):
    alerts_raise([level(50), found("budget w2 50", kind=Kind.BUDGET)], timezone.now())
    end("budget w1 50")
    assert ends() == ["budget w1 50"]


def test_an_earlier_climb_is_not_told_of_again(told):
    now = timezone.now()
    alerts_raise([level(50), level(100)], now - 2 * DAY)
    end("budget w1 50", "budget w1 100")
    alerts_raise([level(50, slot=EPOCH + DAY)], now)
    end("budget w1 50")
    assert ends() == ["budget w1 100", "budget w1 50"]


def test_who_was_not_told_is_not_told_that_it_is_over(told):
    alerts_raise([found(quiet=True)], timezone.now())
    target_add(name="late", channel="email", address="b@example.com", acting_user=None)
    end("drain")
    assert ends() == []


def test_who_wants_nothing_any_more_hears_nothing(told):
    alerts_raise([found()], timezone.now())
    AlertTarget.objects.update(enabled=False)
    end("drain")
    assert ends() == []


def test_the_end_waits_for_what_it_ends(webhook, receiver):
    alerts_raise([found()], timezone.now())
    receiver.statuses = [500]
    deliver()
    end("drain")
    deliver()
    assert len(receiver.calls) == 1
    come_due()
    come_due()
    types = [json.loads(body)["type"] for _headers, body in receiver.calls]
    assert types == ["alert.raised", "alert.raised", "alert.resolved"]


def test_the_end_of_what_was_given_up_follows_a_replay(webhook, receiver):
    alerts_raise([found()], timezone.now())
    receiver.statuses = [500] * ATTEMPTS_MAX
    for _ in range(ATTEMPTS_MAX):
        come_due()
    end("drain")
    come_due()
    assert len(receiver.calls) == ATTEMPTS_MAX
    dead = AlertDelivery.objects.get(event=Event.RAISED)
    assert delivery_replay(delivery=dead, acting_user=None)
    come_due()
    come_due()
    assert json.loads(receiver.calls[-1][1])["type"] == "alert.resolved"


def test_a_key_that_was_given_more_time_is_over_and_one_that_expired_is_not(told):
    now = timezone.now()
    extended, expired = (a_key(expires_at=now + DAY / 2) for _ in range(2))
    looking.look_at_expiring()
    apikey_extend(apikey=extended, expires_at=now + 30 * DAY, acting_user=None)
    past = now - DAY
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=past)
    Alert.objects.filter(subject_id=expired.pk).update(slot=past)
    looking.look_at_expiring()
    assert ends() == [f"expiring k{extended.pk} 1"]
    assert not Alert.objects.filter(subject_id=expired.pk, resolved_at=None).exists()
