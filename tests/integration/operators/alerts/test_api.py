"""Alerts over the management API: what is open, who is told, what was given up."""

import pytest
from django.utils import timezone

from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import Alert, AlertDelivery, AlertTarget
from operators.alerts.raising import alerts_raise
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sealing")]

HOOK = {"name": "pager", "channel": "webhook", "address": "https://93.184.216.34/hidden/path"}


@pytest.fixture
def api() -> ApiClient:
    return ApiClient("alerts:*")


def an_alert(key: str) -> Alert:
    found = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, key, EPOCH, f"{key} is behind.")
    return alerts_raise([found], timezone.now())[0]


def test_the_secret_of_a_webhook_is_shown_once_and_its_path_never(api):
    made = api.post("alert-targets", HOOK)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    path = f"alert-targets/{made.json()['id']}"
    answers = [api.get(path), api.get("alert-targets"), api.patch(path, {"kinds": ["drain"]})]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    told = "".join(answer.text for answer in answers)
    assert made.json()["secret"] not in told
    assert "hidden" not in told + made.text


def test_another_address_gets_another_secret(api):
    made = api.post("alert-targets", HOOK).json()
    path = f"alert-targets/{made['id']}"
    moved = api.patch(path, {"address": "https://93.184.216.34/elsewhere"}).json()
    renewed = api.post(f"{path}/renew-secret").json()
    assert len({made["secret"], moved["secret"], renewed["secret"]}) == 3


def test_a_target_in_a_private_network_is_refused(api):
    answer = api.post("alert-targets", HOOK | {"address": "https://169.254.169.254/"})
    assert (answer.status_code, AlertTarget.objects.count()) == (422, 0)


def test_a_test_says_what_came_of_it(api, webhook, receiver):
    path = f"alert-targets/{webhook[0].pk}/test"
    assert api.post(path).json() == {"trouble": ""}
    receiver.statuses = [500]
    assert api.post(path).json() == {"trouble": "the answer was 500"}


def test_alerts_are_listed_by_their_state(api):
    opened, over = an_alert("open"), an_alert("over")
    Alert.objects.filter(pk=over.pk).update(resolved_at=timezone.now())
    listed = {state: api.get(f"alerts?state={state}").json()["items"] for state in ("open", "over")}
    assert [row["id"] for row in listed["open"]] == [opened.pk]
    assert [row["id"] for row in listed["over"]] == [over.pk]
    assert api.get("alerts?kind=spend").json()["items"] == []


def test_what_was_given_up_can_be_replayed_once(api, webhook):
    an_alert("drain")
    AlertDelivery.objects.update(next_at=None, dead_at=timezone.now())
    (dead,) = api.get("alert-deliveries?state=dead").json()["items"]
    path = f"alert-deliveries/{dead['id']}/replay"
    assert api.post(path).json()["state"] == "waiting"
    assert api.post(path).status_code == 409


def test_to_replay_is_a_scope_of_its_own(webhook):
    an_alert("drain")
    path = f"alert-deliveries/{AlertDelivery.objects.get().pk}/replay"
    assert ApiClient("alerts:read", "alerts:write").post(path).status_code == 403
    assert ApiClient("alerts:operate").post("alert-targets", HOOK).status_code == 403
