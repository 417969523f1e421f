"""Alerts reach a real receiver: signed, tried again, given up, replayed."""

import datetime as dt
import hashlib
import hmac
import json
import time

import pytest
from django.core import mail
from django.utils import timezone

from keys.models import AuditEvent
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.core.webhook import ATTEMPTS_MAX
from operators.alerts.delivery import deliver
from operators.alerts.models import Alert, AlertDelivery, AlertTarget
from operators.alerts.raising import alerts_raise
from operators.alerts.services import (
    delivery_replay,
    target_add,
    target_renew_secret,
    target_test,
    target_update,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivery(webhook):
    """A delivery of one alert to the webhook."""
    text = "The ledger is 2 m behind."
    found = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", EPOCH, text)
    alerts_raise([found], timezone.now())
    return AlertDelivery.objects.get(target=webhook[0])


def attempt(delivery, times=1):
    for _ in range(times):
        AlertDelivery.objects.filter(next_at__isnull=False).update(next_at=timezone.now())
        deliver()
    delivery.refresh_from_db()


def signed_by(secret, call):
    headers, body = call
    sent_at, _, mac = headers["X-ClaudCode-Signature"].partition(",v1=")
    expected = hmac.new(
        secret.encode(), sent_at.removeprefix("t=").encode() + b"." + body, hashlib.sha256
    )
    fresh = abs(time.time() - int(sent_at.removeprefix("t="))) < 60
    return fresh and hmac.compare_digest(expected.hexdigest(), mac)


def test_a_receiver_can_check_the_signature(webhook, delivery, receiver):
    attempt(delivery)
    _target, secret = webhook
    assert signed_by(secret, receiver.calls[0])
    assert not signed_by("whsec_another", receiver.calls[0])
    assert delivery.state == "delivered"


def test_the_body_says_what_is_wrong(delivery, receiver):
    attempt(delivery)
    said = json.loads(receiver.calls[0][1])
    assert (said["type"], said["kind"]) == ("alert.raised", "drain")
    assert said["id"] == f"alert_{delivery.alert_id}"
    assert said["text"] == "The ledger is 2 m behind."


def test_what_fails_is_tried_again_until_it_is_taken(delivery, receiver):
    receiver.statuses = [500, 503]
    attempt(delivery, times=2)
    assert (delivery.state, delivery.last_error) == ("waiting", "the answer was 503")
    attempt(delivery)
    assert (delivery.state, delivery.attempts, len(receiver.calls)) == ("delivered", 3, 3)
    assert len({body for _headers, body in receiver.calls}) == 1


def test_nothing_is_sent_before_its_time(delivery, receiver):
    receiver.statuses = [500]
    attempt(delivery)
    assert delivery.next_at > timezone.now() + dt.timedelta(seconds=50)
    assert (deliver(), len(receiver.calls)) == (0, 1)


def test_what_was_delivered_is_not_sent_again(delivery, receiver):
    attempt(delivery, times=2)
    assert len(receiver.calls) == 1


def test_it_is_given_up_in_the_end_and_can_be_replayed(delivery, receiver):
    receiver.statuses = [500] * ATTEMPTS_MAX
    attempt(delivery, times=ATTEMPTS_MAX + 2)
    assert (delivery.state, len(receiver.calls)) == ("dead", ATTEMPTS_MAX)
    assert delivery_replay(delivery=delivery, acting_user=None)
    assert not delivery_replay(delivery=delivery, acting_user=None)
    attempt(delivery)
    assert delivery.state == "delivered"
    assert AuditEvent.objects.filter(action="alert_delivery.replay").count() == 1


def test_redirects_are_not_followed(delivery, receiver):
    receiver.statuses = [307]
    attempt(delivery)
    assert (delivery.last_error, len(receiver.calls)) == ("the answer was 307", 1)


def test_a_receiver_that_is_away_is_tried_again(delivery, receiver):
    AlertTarget.objects.update(address="http://127.0.0.1:9/")
    attempt(delivery)
    # The secret belongs to the receiver it was made for: nothing is signed for another.
    assert delivery.state == "waiting"
    assert "not for this address" in delivery.last_error


def test_where_it_leads_is_looked_at_again_as_it_is_sent(delivery, receiver, settings):
    settings.ALERT_LOCAL_TARGETS = False
    AlertTarget.objects.update(address=receiver.url.replace("http:", "https:"))
    secret = target_renew_secret(target=AlertTarget.objects.get(), acting_user=None)
    attempt(delivery)
    assert secret
    assert "private network" in delivery.last_error
    assert receiver.calls == []


def test_a_test_is_sent_at_once(webhook, receiver):
    target, secret = webhook
    assert target_test(target=target, acting_user=None) == ""
    assert signed_by(secret, receiver.calls[0])
    assert json.loads(receiver.calls[0][1])["type"] == "test"


def test_another_address_gets_another_secret(webhook, receiver):
    target, secret = webhook
    changes = {"address": receiver.url + "hidden/path"}
    renewed = target_update(target=target, changes=changes, acting_user=None)
    assert renewed not in ("", secret)
    row = AuditEvent.objects.get(action="alert_target.update")
    assert "hidden" not in str(row.detail)


def test_the_secret_is_stored_sealed(webhook):
    target, secret = webhook
    assert secret not in AlertTarget.objects.get().secret
    assert secret not in str(list(AuditEvent.objects.values_list("detail", flat=True)))
    assert target.secret


@pytest.fixture
def mail_target(db, settings):
    settings.EMAIL_URL = "smtp://mail.example.com"
    given = {"channel": "email", "address": "ops@example.com", "acting_user": None}
    return target_add(name="ops", **given)[0]


def test_alerts_go_by_mail(mail_target, delivery):
    attempt(delivery)
    assert [(m.to, m.subject) for m in mail.outbox] == [
        (["ops@example.com"], "[ClaudCode] drain: The ledger is 2 m behind.")
    ]


def test_a_name_of_many_lines_stops_no_mail(mail_target, delivery):
    Alert.objects.update(text="The key a\r\nBcc: everybody@example.com is at its budget.")
    attempt(delivery)
    assert [m.subject for m in mail.outbox] == [
        "[ClaudCode] drain: The key a Bcc: everybody@example.com is at its budget."
    ]


def test_without_a_mail_server_it_is_said(mail_target, settings):
    settings.EMAIL_URL = ""
    assert target_test(target=mail_target, acting_user=None) == "CLAUDCODE_EMAIL_URL is not set"
