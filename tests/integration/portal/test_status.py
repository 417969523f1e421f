"""The status page: what is away is told in words, and the page is there all the same."""

import datetime as dt

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from keys.services import maintenance_set
from operators.alerts.core.rules import Kind, Subject
from operators.alerts.models import Alert
from portal import live, stores
from portal.status import Level, status
from proxy.models import UpstreamAccount
from tests.factories import an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing is remembered from another test."""
    forget()


def forget() -> None:
    for remembered in (live.catalogue, status, stores.postgres_answers, stores.valkey_answers):
        remembered.forget()


def told() -> dict:
    return Client().get("/status.json").json()


def part(name: str) -> dict:
    return next(part for part in told()["parts"] if part["name"] == name)


@pytest.fixture
def no_postgres():
    """Every query fails, as it does when Postgres is away."""

    def refuse(*_args):
        raise OperationalError("connection to 10.1.2.3 refused")

    with connection.execute_wrapper(refuse):
        yield


@pytest.fixture
def no_valkey(settings):
    """Nobody listens where Valkey should be."""
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"


def an_alert(kind: Kind, text: str) -> Alert:
    return Alert.objects.create(
        kind=kind,
        subject_type=Subject.GATEWAY,
        subject_id=0,
        subject_name="",
        threshold=0,
        key=f"{kind} {text}",
        slot=timezone.now(),
        text=text,
    )


def test_everything_works():
    UpstreamAccount.objects.create(name="main", base_url="https://a.example")
    assert (told()["status"], told()["summary"]) == ("ok", "Everything works")


def test_maintenance_is_told_with_its_message():
    maintenance_set(enabled=True, message="Back at noon.", acting_user=None)
    gateway = part("Gateway")
    assert (gateway["status"], gateway["detail"]) == ("down", "Back at noon.")
    assert told()["status"] == "down"


def test_past_maintenance_is_an_incident_with_an_end():
    maintenance_set(enabled=True, acting_user=None)
    maintenance_set(enabled=False, acting_user=None)
    (incident,) = told()["incidents"]
    assert incident["summary"] == "Maintenance"
    assert incident["ended_at"] >= incident["began_at"]


def test_without_valkey_requests_are_not_answered(no_valkey):
    assert part("Limits and cache")["status"] == "down"
    assert part("Usage figures")["summary"] == "Unknown"


def test_without_postgres_the_page_says_so(no_postgres):
    answer = told()
    assert part("Keys and ledger")["status"] == "limited"
    assert answer["incidents"] is None
    page = Client().get("/status").content.decode()
    assert "cannot be told just now" in page
    assert "10.1.2.3" not in page


def test_without_postgres_from_the_start_the_documentation_is_there_and_says_so(no_postgres):
    assert Client().get("/docs/models-and-prices").status_code == 200
    assert "cannot be read just now" in live.tables_of(live.Reading()())["prices"]


def test_figures_that_were_read_outlast_postgres():
    client = Client()
    client.get("/docs/models-and-prices")
    forget()

    def refuse(*_args):
        raise OperationalError

    with connection.execute_wrapper(refuse):
        body = client.get("/docs/models-and-prices").content.decode()
    assert "claude-haiku-4-5" in body
    assert "the database does not answer" in body


def test_the_signed_in_read_on_without_postgres():
    client = Client()
    client.force_login(an_operator())
    forget()

    def refuse(*_args):
        raise OperationalError

    with connection.execute_wrapper(refuse):
        assert client.get("/status").status_code == 200
        assert client.get("/").status_code == 200


def test_only_some_upstreams_down_is_a_limitation():
    good = UpstreamAccount.objects.create(name="good", base_url="https://a.example")
    UpstreamAccount.objects.create(name="bad", base_url="https://b.example", credential="unopened")
    assert told()["status"] == Level.LIMITED
    good.delete()
    forget()
    assert told()["status"] == Level.DOWN


def test_incidents_of_strangers_hold_no_text_of_alerts():
    an_alert(Kind.UPSTREAM, "account alice@example.com was refused")
    an_alert(Kind.BUDGET, "key of bob")
    page = Client().get("/status").content.decode()
    assert "An upstream account was in trouble" in page
    assert "going on" in page
    assert "alice" not in page
    assert "bob" not in page


def test_incidents_of_old_are_not_told():
    alert = an_alert(Kind.DRAIN, "behind")
    long_ago = timezone.now() - dt.timedelta(days=30)
    Alert.objects.filter(pk=alert.pk).update(raised_at=long_ago, resolved_at=long_ago)
    assert told()["incidents"] == []


def test_an_operator_reads_the_alert_itself():
    an_alert(Kind.UPSTREAM, "account alice@example.com was refused")
    client = Client()
    client.force_login(an_operator())
    assert "alice" in client.get("/status").content.decode()


def test_looks_are_shared(django_assert_num_queries):
    told()
    with django_assert_num_queries(0):
        told()
