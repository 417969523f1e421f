import datetime as dt

import pytest
from axes.models import AccessAttempt
from celery import current_app
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from keys.api.models import IdempotentAnswer
from keys.api.tokens import operatortoken_issue
from keys.models import AuditEvent
from operators import clearing, tasks

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HOUR = dt.timedelta(hours=1)


def a_session(name: str, ends: dt.datetime) -> None:
    Session.objects.create(session_key=name, session_data="", expire_date=ends)


def a_failure(address: str, at: dt.datetime) -> None:
    row = AccessAttempt.objects.create(ip_address=address, failures_since_start=1)
    AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=at)


def test_what_has_expired_goes_and_the_rest_stays():
    token, _ = operatortoken_issue(name="ci", scopes=["*"], acting_user=None)
    a_session("over", NOW - HOUR)
    a_session("live", NOW + HOUR)
    for key, age_h in (("old", 25), ("new", 23)):
        IdempotentAnswer.objects.create(token=token, key=key, created_at=NOW - age_h * HOUR)
    a_failure("192.0.2.1", NOW - HOUR)
    a_failure("192.0.2.2", NOW)
    assert clearing.clear(NOW) == {"sessions": 1, "answers": 1, "failures": 1}
    assert Session.objects.get().pk == "live"
    assert IdempotentAnswer.objects.get().key == "new"
    assert AccessAttempt.objects.get().ip_address == "192.0.2.2"
    assert AuditEvent.objects.count() == 1  # The token's: the trail is for ever.


def test_a_call_deletes_a_bounded_number_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(clearing, "CLEARED_AT_ONCE", 2)
    monkeypatch.setattr(clearing, "CLEARED_MAX", 4)
    for number in range(5):
        a_session(f"s{number}", NOW - HOUR)
    assert clearing.clear(NOW)["sessions"] == 4
    assert clearing.clear(NOW)["sessions"] == 1


def test_beat_asks_for_it_by_its_name():
    current_app.loader.import_default_modules()
    asked = settings.CELERY_BEAT_SCHEDULE["clear-expired"]["task"]
    assert current_app.tasks[asked].name == tasks.clear.name
