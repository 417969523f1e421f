"""Alerts reach a real mail server, with TLS and a password, and nobody who only looks like it."""

import pytest
from django.utils import timezone

from claudcode import mail
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.delivery import deliver
from operators.alerts.models import Alert, AlertDelivery
from operators.alerts.raising import alerts_end, alerts_raise
from operators.alerts.services import target_add, target_test
from tests import mail_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def target():
    return target_add(name="ops", channel="email", address="ops@example.com", acting_user=None)[0]


@pytest.fixture
def point_to(settings):
    """Sets mail up as a start with that CLAUDCODE_EMAIL_URL does."""

    def point(url: str) -> None:
        settings.EMAIL_URL = url
        for name, value in mail.settings(url).items():
            setattr(settings, name, value)

    return point


@pytest.fixture(params=["starttls", "tls"])
def server(request, point_to, monkeypatch, tmp_path):
    with mail_server.serving(implicit=request.param == "tls") as running:
        running.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        point_to(running.url)
        yield running


def an_alert() -> Alert:
    text = "The ledger is 2 m behind."
    found = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", EPOCH, text)
    return alerts_raise([found], timezone.now())[0]


def test_an_alert_and_its_end_are_two_letters(target, server):
    an_alert()
    deliver()
    alerts_end(Alert.objects.all(), timezone.now())
    deliver()
    assert [(letter["To"], letter["Subject"]) for letter in server.mails] == [
        ("ops@example.com", "[ClaudCode] drain: The ledger is 2 m behind."),
        ("ops@example.com", server.mails[1]["Subject"]),
    ]
    assert server.mails[1]["Subject"].startswith("[ClaudCode] over: drain: It is over")
    assert "The ledger is 2 m behind." in server.mails[1].get_content()
    assert {row.state for row in AlertDelivery.objects.all()} == {"delivered"}


def test_a_letter_that_is_refused_is_tried_again(target, server):
    an_alert()
    server.refuse = "451 later, gateway mail-pass"
    deliver()
    (row,) = AlertDelivery.objects.all()
    assert (row.state, row.last_error) == (
        "waiting",
        "the mail server did not take it: SMTPDataError 451",
    )
    server.refuse = ""
    AlertDelivery.objects.update(next_at=timezone.now())
    deliver()
    assert len(server.mails) == 1


def test_a_wrong_password_is_said_and_not_repeated(target, server, point_to):
    point_to(server.url.replace(mail_server.PASSWORD, "wrong-pass"))
    assert target_test(target=target, acting_user=None) == (
        "the mail server did not take it: SMTPAuthenticationError 535"
    )
    assert server.mails == []


def test_a_server_that_nobody_vouches_for_gets_nothing(target, server, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSLCertVerificationError" in target_test(target=target, acting_user=None)
    assert server.mails == []
