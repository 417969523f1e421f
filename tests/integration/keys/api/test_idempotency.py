"""A write with an Idempotency-Key takes place once."""

import datetime as dt
import threading

import pytest
from django.db import connection
from django.utils import timezone

from keys.api.models import IdempotentAnswer
from keys.models import ApiKey, AuditEvent
from tests.factories import a_budget, a_key
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

WISH = {"name": "ci"}


def issue(api: ApiClient, key: str = "wish-1", body=WISH):
    return api.post("keys", body, idempotency_key=key)


def test_a_repeat_gets_the_same_answer_and_does_nothing():
    api = ApiClient("keys:write")
    first, again = issue(api), issue(api)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json() | {"secret": None}
    assert again["idempotent-replayed"] == "true"
    assert ApiKey.objects.count() == 1
    assert AuditEvent.objects.filter(action="apikey.issue").count() == 1


def test_a_secret_is_not_kept():
    secret = issue(ApiClient("keys:write")).json()["secret"]
    assert secret not in str(IdempotentAnswer.objects.values().get())


def test_without_a_key_two_wishes_are_two():
    api = ApiClient("keys:write")
    api.post("keys", WISH)
    api.post("keys", WISH)
    assert ApiKey.objects.count() == 2


def test_a_key_with_another_body_is_refused():
    api = ApiClient("keys:write")
    issue(api)
    answer = issue(api, body={"name": "other"})
    assert answer.status_code == 422
    assert ApiKey.objects.count() == 1


def test_a_key_at_another_address_is_refused():
    api = ApiClient("keys:write")
    issue(api)
    assert api.post(f"keys/{a_key().pk}/disable", idempotency_key="wish-1").status_code == 422


def test_tokens_do_not_share_keys():
    first, second = issue(ApiClient("keys:write")), issue(ApiClient("keys:write"))
    assert first.json()["id"] != second.json()["id"]


def test_a_refusal_is_not_kept():
    api = ApiClient("keys:write")
    assert issue(api, body={"name": ""}).status_code == 400
    assert issue(api).status_code == 201


def test_after_a_day_a_key_is_new():
    api = ApiClient("keys:write")
    first = issue(api)
    day = timezone.now() - dt.timedelta(hours=25)
    IdempotentAnswer.objects.update(created_at=day)
    assert issue(api).json()["id"] != first.json()["id"]


def test_old_answers_are_removed_by_later_writes():
    api = ApiClient("keys:write")
    for number in range(3):
        issue(api, f"wish-{number}")
    IdempotentAnswer.objects.update(created_at=timezone.now() - dt.timedelta(hours=25))
    issue(api, "wish-9")
    assert [answer.key for answer in IdempotentAnswer.objects.all()] == ["wish-9"]


def test_a_deletion_is_answered_again():
    api = ApiClient("keys:write")
    budget = a_budget(a_key(budgets=()))
    path = f"keys/{budget.apikey_id}/budgets/{budget.pk}"
    answers = [api.delete(path, idempotency_key="gone") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert api.delete(path).status_code == 404


@pytest.mark.parametrize("key", ["", "x" * 201, "schlüssel"])
def test_a_key_out_of_bounds_is_refused(key):
    assert issue(ApiClient("keys:write"), key).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_takes_place():
    api = ApiClient("keys:write")
    answers = []

    def run() -> None:
        try:
            answers.append(issue(api))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 5
    assert ApiKey.objects.count() == 1
    assert len([a for a in answers if a.json()["secret"]]) == 1


@pytest.mark.django_db(transaction=True)
def test_what_did_not_follow_is_tried_again(settings):
    api = ApiClient("keys:write")
    budget = a_budget(a_key(budgets=()))
    path = f"keys/{budget.apikey_id}/budgets/{budget.pk}/reset"
    right, settings.VALKEY_URL = settings.VALKEY_URL, "redis://127.0.0.1:1/0"
    failed = api.post(path, idempotency_key="reset-1")
    settings.VALKEY_URL = right
    again = api.post(path, idempotency_key="reset-1")
    assert (failed.status_code, again.status_code) == (503, 200)
    assert failed["retry-after"] == "5"
    assert not again.has_header("idempotent-replayed")
