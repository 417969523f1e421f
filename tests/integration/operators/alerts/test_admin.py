"""The console's pages for alerts, as an operator uses them."""

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from keys.models import AuditEvent
from operators.alerts.admin import AlertAdmin
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import Alert, AlertDelivery, AlertTarget
from operators.alerts.raising import alerts_raise
from tests.factories import a_viewer, an_operator

pytestmark = pytest.mark.django_db

TARGETS = reverse("admin:alerts_alerttarget_changelist")


@pytest.fixture
def console():
    client = Client()
    client.force_login(an_operator())
    return client


def raised(key, text):
    found = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, key, EPOCH, text)
    return alerts_raise([found], timezone.now())[0]


def act(client, page, action, row):
    sent = {"action": action, "_selected_action": [row.pk]}
    return client.post(reverse(f"admin:alerts_{page}_changelist"), sent, follow=True)


def test_open_alerts_come_first(console):
    raised("first", "Still so")
    over = raised("second", "Is over")
    Alert.objects.filter(pk=over.pk).update(resolved_at=timezone.now())
    page = console.get(reverse("admin:alerts_alert_changelist")).content.decode()
    assert page.index("Still so") < page.index("Is over")


def test_the_list_is_read_in_the_order_of_an_index():
    rows = AlertAdmin(Alert, admin.site).get_queryset(RequestFactory().get("/")).order_by()
    listed = rows.order_by(*AlertAdmin.ordering, "-pk")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = listed.explain()
    assert "alert_listed" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize(
    ("term", "found"),
    [
        pytest.param("pto", ["laptop"], id="part of a name"),
        pytest.param("LA", ["laptop"], id="two letters begin a name"),
        pytest.param("op", [], id="and are no part of one"),
        pytest.param("", ["desktop", "laptop"], id="nothing"),
    ],
)
def test_alerts_are_found_by_the_name_of_what_they_are_about(console, term, found):
    for name in ("laptop", "desktop"):
        finding = Finding(Kind.DRAIN, Subject.GATEWAY, 0, name, None, name, EPOCH, "Behind")
        alerts_raise([finding], timezone.now())
    page = console.get(reverse("admin:alerts_alert_changelist"), {"q": term})
    assert sorted(row.subject_name for row in page.context["cl"].result_list) == found


def test_a_webhook_is_made_and_its_secret_shown_once(console, settings, sealing, receiver):
    settings.ALERT_LOCAL_TARGETS = True
    sent = {"name": "hook", "channel": "webhook", "address": receiver.url, "enabled": "on"}
    sent |= {"kinds": ["budget"]}
    answer = console.post(reverse("admin:alerts_alerttarget_add"), sent)
    target = AlertTarget.objects.get()
    assert (answer.status_code, target.kinds) == (200, ["budget"])
    assert "whsec_" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    change = console.get(reverse("admin:alerts_alerttarget_change", args=[target.pk]))
    assert "whsec_" not in change.content.decode()
    assert AuditEvent.objects.filter(action="alert_target.add").count() == 1


def test_a_private_address_is_refused_on_the_form(console, sealing):
    sent = {"name": "hook", "channel": "webhook", "address": "https://10.0.0.1/"}
    page = console.post(reverse("admin:alerts_alerttarget_add"), sent).content.decode()
    assert "leads into a private network" in page
    assert not AlertTarget.objects.exists()


def test_a_target_is_changed_and_deleted_with_a_row_each(console, webhook):
    target, _secret = webhook
    change = reverse("admin:alerts_alerttarget_change", args=[target.pk])
    sent = {"name": "other", "address": target.address}
    assert console.post(change, sent).status_code == 302
    target.refresh_from_db()
    assert (target.name, target.enabled) == ("other", False)
    console.post(reverse("admin:alerts_alerttarget_delete", args=[target.pk]), {"post": "yes"})
    actions = AuditEvent.objects.filter(action__startswith="alert_target.").order_by("id")
    assert [row.action.partition(".")[2] for row in actions] == ["add", "update", "delete"]


def test_a_test_is_sent_from_the_list(console, webhook, receiver):
    page = act(console, "alerttarget", "test", webhook[0])
    assert "the test was taken" in page.content.decode()
    assert len(receiver.calls) == 1
    assert AuditEvent.objects.filter(action="alert_target.test").count() == 1


def test_a_new_secret_is_shown(console, webhook):
    page = act(console, "alerttarget", "renew_secret", webhook[0]).content.decode()
    assert "whsec_" in page
    assert webhook[1] not in page


def test_what_was_given_up_is_replayed_from_the_list(console, webhook):
    alert = raised("drain", "The ledger is behind.")
    AlertDelivery.objects.update(next_at=None, dead_at=timezone.now())
    delivery = AlertDelivery.objects.get(alert=alert)
    page = act(console, "alertdelivery", "replay", delivery)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("waiting", 0)
    assert "tried again: 1" in page.content.decode()


def test_a_viewer_sees_the_host_of_a_webhook_alone(webhook):
    target, _secret = webhook
    AlertTarget.objects.update(address="https://hooks.example.com/T0/only-for-us")
    client = Client()
    client.force_login(a_viewer("alerts"))
    pages = [TARGETS, reverse("admin:alerts_alerttarget_change", args=[target.pk])]
    text = "".join(client.get(page).content.decode() for page in pages)
    assert "https://hooks.example.com/…" in text
    assert "only-for-us" not in text
