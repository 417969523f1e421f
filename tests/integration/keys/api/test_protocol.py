"""What holds for every address of the management API: tokens, scopes, problems, throttle."""

import datetime as dt

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from keys.api.fields import BODY_BYTES_MAX
from keys.api.models import OperatorToken
from keys.api.tokens import operatortoken_revoke
from keys.core.secret import compose
from tests.factories import a_key, a_key_and_secret, a_stranger, an_operator
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


def refused(answer, status: int, word: str) -> bool:
    """Whether `answer` is the problem `word` with this status, in all that RFC 9457 asks."""
    return (
        answer.status_code == answer.json()["status"] == status
        and answer["content-type"] == "application/problem+json"
        and answer.json()["type"] == f"urn:claudcode:problem:{word}"
        and bool(answer.json()["title"] and answer.json()["detail"])
    )


# --- Tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="nothing"),
        pytest.param("Bearer", id="a word alone"),
        pytest.param("Basic b3BzOnB3", id="another way"),
        pytest.param("Bearer a b", id="two tokens"),
        pytest.param("Bearer ä", id="not ASCII"),
        pytest.param(f"Bearer {compose('0' * 32, mark='cc-op-').text}", id="an unknown token"),
    ],
)
def test_without_a_token_there_is_nothing(authorization):
    api = ApiClient()
    answer = api.get("keys", authorization=authorization)
    assert refused(answer, 401, "unauthenticated")
    assert answer["www-authenticate"].startswith("Bearer ")


def test_an_api_key_opens_nothing():
    answer = ApiClient().get("keys", authorization=f"Bearer {a_key_and_secret()[1].text}")
    assert refused(answer, 401, "unauthenticated")


def test_a_revoked_token_opens_nothing():
    api = ApiClient()
    operatortoken_revoke(token=api.token, acting_user=None)
    assert refused(api.get("keys"), 401, "unauthenticated")


def test_an_expired_token_opens_nothing():
    api = ApiClient()
    OperatorToken.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert refused(api.get("keys"), 401, "unauthenticated")


def test_a_session_opens_nothing():
    browser = Client()
    browser.force_login(an_operator())
    assert browser.get("/api/v1/keys").status_code == 401


def test_a_token_knows_what_it_is():
    api = ApiClient("keys:read", name="ci")
    shown = api.get("token").json()
    assert (shown["name"], shown["scopes"]) == ("ci", ["keys:read"])
    assert api.secret not in str(shown)


def test_a_token_of_someone_who_lost_a_permission_is_worth_less():
    owner = a_stranger()
    owner.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    api = ApiClient("keys:read", acting_user=type(owner).objects.get(pk=owner.pk))
    assert api.get("keys").status_code == 200
    owner.user_permissions.clear()
    assert refused(api.get("keys"), 403, "forbidden")


# --- Problems -----------------------------------------------------------------------------------


def test_an_unknown_address_is_a_problem():
    assert refused(ApiClient().get("keyz"), 404, "not-found")


def test_an_unknown_address_needs_no_token():
    assert refused(ApiClient().get("keyz", authorization=""), 404, "not-found")


def test_a_method_that_is_not_there_is_a_problem():
    answer = ApiClient().delete(f"keys/{a_key().pk}")
    assert refused(answer, 405, "method-not-allowed")
    assert "PATCH" in answer["allow"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"name": NaN}', b"nul"])
def test_what_is_no_json_is_a_problem(body):
    assert refused(ApiClient().post("keys", body), 400, "malformed")


@pytest.mark.parametrize("body", [[], "a", 5, None, [{"name": "a"}]])
def test_what_is_no_object_is_a_problem(body):
    assert refused(ApiClient().post("keys", body), 400, "malformed")


def test_another_type_of_body_is_a_problem():
    api = ApiClient()
    answer = Client().post(
        "/api/v1/keys", {"name": "a"}, headers={"authorization": f"Bearer {api.secret}"}
    )
    assert refused(answer, 415, "unsupported-media-type")


def test_a_client_that_wants_another_type_is_told():
    assert refused(ApiClient().get("keys", accept="text/html"), 406, "not-acceptable")


def test_a_body_over_the_bound_is_refused():
    body = {"name": "a" * BODY_BYTES_MAX}
    assert refused(ApiClient().post("keys", body), 413, "too-large")


def test_a_query_on_a_write_is_refused():
    assert refused(ApiClient().post("keys?dry_run=1", {"name": "a"}), 400, "malformed")


# --- Throttle -----------------------------------------------------------------------------------


def test_a_token_that_asks_too_often_waits(settings):
    settings.MANAGEMENT_RPM = 2
    api, other = ApiClient(), ApiClient()
    # Over the turn of a minute three may pass, but never four.
    answers = [api.get("token") for _ in range(5)]
    assert refused(answers[-1], 429, "throttled")
    assert 1 <= int(answers[-1]["retry-after"]) <= 60
    assert other.get("token").status_code == 200


def test_without_valkey_operators_still_read_keys(settings):
    settings.CACHES = {
        "default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    }
    assert ApiClient().get("keys").status_code == 200
