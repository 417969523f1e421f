"""Tokens that tokens issue: never more than the issuer is, and gone when it is."""

import datetime as dt

import pytest
from django.contrib.auth.models import Group, Permission
from django.utils import timezone

from keys.api import tokens
from keys.api.models import IdempotentAnswer, OperatorToken
from keys.models import AuditEvent
from tests.factories import a_stranger
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

BODY = {"name": "ci", "scopes": ["keys:read"]}


def in_days(days: int) -> dt.datetime:
    return timezone.now() + dt.timedelta(days=days)


@pytest.fixture
def api() -> ApiClient:
    return ApiClient("tokens:*", "keys:read", "audit:read", expires_at=in_days(2))


def worth(secret: str, path: str) -> int:
    """Return the status of a request with this secret."""
    client = ApiClient()
    client.secret = secret
    return client.get(path).status_code


def test_a_token_is_issued_and_its_secret_shown_once(api):
    made = api.post("tokens", BODY)
    secret = made.json()["secret"]
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert worth(secret, "keys") == 200
    later = api.get("tokens").text + api.get(f"tokens/{made.json()['id']}").text
    assert secret not in later + str(list(AuditEvent.objects.values()))


def test_the_secret_is_not_kept_for_a_repeat(api):
    first, again = (api.post("tokens", BODY, idempotency_key="one") for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.json()["secret"] is None
    assert first.json()["secret"] not in str(list(IdempotentAnswer.objects.values()))


@pytest.mark.parametrize("scopes", [["teams:read"], ["keys:*"], ["*"], ["keys:read", "keys:write"]])
def test_no_scope_is_given_that_the_issuer_lacks(api, scopes):
    answer = api.post("tokens", BODY | {"scopes": scopes})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/scopes"
    assert OperatorToken.objects.count() == 1


@pytest.mark.parametrize("scopes", [["tokens:write"], ["tokens:*"]])
def test_the_right_to_issue_is_not_handed_on(api, scopes):
    answer = api.post("tokens", BODY | {"scopes": scopes})
    assert answer.status_code == 422
    assert "cannot hand on" in answer.text


def test_an_expiry_is_the_issuers_unless_it_is_earlier(api):
    ends = api.token.expires_at
    assert api.post("tokens", BODY).json()["expires_at"] == ends.isoformat().replace("+00:00", "Z")
    assert api.post("tokens", BODY | {"expires_at": in_days(1).isoformat()}).status_code == 201


@pytest.mark.parametrize("expires_at", [None, "2038-01-01T00:00:00Z"], ids=["never", "later"])
def test_nothing_outlives_its_issuer(api, expires_at):
    answer = api.post("tokens", BODY | {"expires_at": expires_at})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/expires_at"


def test_what_a_token_issued_ends_with_it_and_each_leaves_a_row(api):
    secret = api.post("tokens", BODY).json()["secret"]
    other = ApiClient("tokens:write")
    before = AuditEvent.objects.count()
    assert other.post(f"tokens/{api.token.pk}/revoke").json()["status"] == "revoked"
    rows = list(AuditEvent.objects.order_by("id")[before:])
    assert [row.action for row in rows] == ["operatortoken.revoke"] * 2
    assert worth(secret, "keys") == 401
    assert ApiClient().get("tokens?status=revoked").json()["items"][0]["issued_by_id"] == (
        api.token.pk
    )


def test_a_revoked_token_issues_nothing_however_late_it_is_asked(api):
    # As if the revocation came between the check at the door and the write.
    issued_by = OperatorToken.objects.get(pk=api.token.pk)
    tokens.operatortoken_revoke(token=api.token, acting_user=None)
    with pytest.raises(tokens.ValidationError, match="has ended"):
        tokens.operatortoken_issue(
            name="late", scopes=["keys:read"], acting_user=None, issued_by=issued_by
        )


def test_the_token_of_a_person_gives_no_more_than_they_may():
    person = a_stranger()
    person.groups.add(Group.objects.get(name="admin"))
    api = ApiClient("*", acting_user=type(person).objects.get(pk=person.pk))
    secret = api.post("tokens", BODY).json()["secret"]
    issued = OperatorToken.objects.get(name="ci")
    assert (issued.created_by, issued.issued_by) == (person, api.token)
    person.groups.clear()
    assert worth(secret, "keys") == 403
    codenames = ("add_operatortoken", "change_operatortoken")
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert api.post("tokens", BODY | {"name": "more"}).status_code == 422


def test_who_reads_tokens_neither_issues_nor_revokes():
    reader = ApiClient("tokens:read", "keys:read")
    assert reader.get("tokens").status_code == 200
    assert reader.post("tokens", BODY).status_code == 403
    assert reader.post(f"tokens/{reader.token.pk}/revoke").status_code == 403


def test_a_token_issues_so_many_and_no_more(api, monkeypatch):
    monkeypatch.setattr(tokens, "ISSUED_MAX", 2)
    made = [api.post("tokens", BODY) for _ in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 422]
    api.post(f"tokens/{made[0].json()['id']}/revoke")
    assert api.post("tokens", BODY).status_code == 201
