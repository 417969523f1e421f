"""Keys over the management API: what the console can do, with the same services."""

import datetime as dt

import pytest
from django.utils import timezone

from keys.core.secret import digest
from keys.models import ApiKey, AuditEvent, InheritedWindow
from keys.services import apikey_disable, apikey_revoke
from tests.factories import a_budget, a_key, a_key_and_secret, a_model, a_plan, a_team, an_operator
from tests.management import ApiClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


@pytest.fixture
def api() -> ApiClient:
    return ApiClient("keys:*")


def ids(answer) -> list[int]:
    return [item["id"] for item in answer.json()["items"]]


# --- Read ---------------------------------------------------------------------------------------


def test_a_key_is_shown_without_its_secret(api):
    apikey, secret = a_key_and_secret(name="ci")
    answer = api.get(f"keys/{apikey.pk}")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["name"], shown["status"], shown["prefix"]) == ("ci", "active", secret.prefix)
    assert shown["budgets"][0]["limit"] == 5_000_000
    assert secret.text not in answer.text
    assert secret.digest not in answer.text


def test_pages_hold_every_key_once(api):
    made = [a_key().pk for _ in range(5)]
    seen, after = [], ""
    for _ in range(3):
        answer = api.get(f"keys?limit=2{after}").json()
        seen += [item["id"] for item in answer["items"]]
        after = f"&after={answer['next']}"
    assert seen == made[::-1]
    assert answer["next"] is None


def test_a_page_costs_the_same_however_many_keys_it_shows(api, django_assert_num_queries):
    for _ in range(4):
        a_key()
    api.get("keys")
    with django_assert_num_queries(3):  # The token, the keys, their budgets.
        api.get("keys")


def test_keys_are_filtered_by_status(api):
    active, disabled, revoked = a_key(), a_key(), a_key()
    expired = a_key()
    apikey_disable(apikey=disabled, acting_user=None)
    apikey_revoke(apikey=revoked, acting_user=None)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - dt.timedelta(1))
    found = [ids(api.get(f"keys?status={s}")) for s in ("active", "disabled", "revoked", "expired")]
    assert found == [[active.pk], [disabled.pk], [revoked.pk], [expired.pk]]


def test_keys_are_filtered_by_team_owner_and_prefix(api):
    a_key()
    apikey = a_key(team=a_team(), owner=an_operator())
    query = f"team_id={apikey.team_id}&owner_id={apikey.owner_id}&prefix={apikey.prefix}"
    assert ids(api.get(f"keys?{query}")) == [apikey.pk]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("statsu=active", id="an unknown name"),
        pytest.param("status=broken", id="an unknown status"),
        pytest.param("limit=0", id="no rows"),
        pytest.param("limit=201", id="too many rows"),
        pytest.param("limit=", id="an empty number"),
        pytest.param("limit=1.0", id="no whole number"),
        pytest.param("after=x", id="a mark of nowhere"),
        pytest.param("after=WyJhIl0", id="a mark of another list"),
        pytest.param("after=W10", id="a mark of nothing"),
        pytest.param("prefix=%00", id="a zero byte"),
    ],
)
def test_a_query_that_means_nothing_is_refused(api, query):
    answer = api.get(f"keys?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "?" + query.split("=")[0]


def test_a_key_that_is_not_there(api):
    assert api.get("keys/999999999999999999999999").status_code == 404


# --- Issue --------------------------------------------------------------------------------------


def test_a_key_is_issued_and_its_secret_shown(api):
    team = a_team()
    answer = api.post("keys", {"name": "ci", "team_id": team.pk, "rpm": 5, "models": []})
    assert answer.status_code == 201
    stored = ApiKey.objects.get(pk=answer.json()["id"])
    assert stored.digest == digest(answer.json()["secret"])
    assert (stored.name, stored.team, stored.rpm) == ("ci", team, 5)
    assert answer["cache-control"] == "no-store"


def test_a_key_gets_the_budgets_it_is_given(api):
    budget = {"unit": "nanousd", "window_s": 86_400, "limit": 20_000_000_000, "strict": True}
    answer = api.post("keys", {"name": "ci", "budgets": [budget]})
    assert [str(b) for b in ApiKey.objects.get().budgets.all()] == ["20.00 USD / 1d"]
    assert answer.json()["budgets"][0].items() >= budget.items()


def test_a_key_may_have_no_budget(api):
    api.post("keys", {"name": "ci", "budgets": []})
    assert not ApiKey.objects.get().budgets.exists()


def test_the_audit_trail_names_the_token(api):
    owner = an_operator()
    api = ApiClient("keys:write", name="deploy", acting_user=owner)
    api.post("keys", {"name": "ci"})
    event = AuditEvent.objects.order_by("-id")[0]
    assert (event.action, event.actor) == ("apikey.issue", owner)
    assert event.actor_name == f"token deploy ({api.token.masked})"
    assert event.address == "127.0.0.1"


def test_who_does_something_afterwards_is_not_the_token(api):
    api.post("keys", {"name": "ci"})
    a_key()
    assert AuditEvent.objects.order_by("-id")[0].actor_name == "manage.py"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param({}, "#/name", id="no name"),
        pytest.param({"name": ""}, "#/name", id="an empty name"),
        pytest.param({"name": 5}, "#/name", id="a name that is a number"),
        pytest.param({"name": "a", "rmp": 5}, "#/rmp", id="a slip in a limit"),
        pytest.param({"name": "a", "rpm": "5"}, "#/rpm", id="a number in quotes"),
        pytest.param({"name": "a", "rpm": True}, "#/rpm", id="a truth for a number"),
        pytest.param({"name": "a", "rpm": 5.5}, "#/rpm", id="half a request"),
        pytest.param({"name": "a", "rpm": -1}, "#/rpm", id="below nothing"),
        pytest.param({"name": "a", "cache_enabled": "no"}, "#/cache_enabled", id="a word"),
        pytest.param({"name": "a", "team_id": 2**70}, "#/team_id", id="no such team"),
        pytest.param({"name": "a", "team_id": "1"}, "#/team_id", id="a team in quotes"),
        pytest.param({"name": "a", "cidrs": ["10.0.0.1/8"]}, "#/cidrs/0", id="host bits"),
        pytest.param({"name": "a\x00"}, "#/name", id="a zero byte"),
        pytest.param({"name": "a", "expires_at": "2099-01-01"}, "#/expires_at", id="a day"),
        pytest.param(
            {"name": "a", "budgets": [{"unit": "eur", "window_s": 1, "limit": 1}]},
            "#/budgets/0/unit",
            id="an unknown unit",
        ),
    ],
)
def test_a_body_that_means_nothing_writes_nothing(api, body, pointer):
    answer = api.post("keys", body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param({"models": ["claude-opus-4.6"]}, "#/models", id="a slip in a model"),
        pytest.param({"expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at", id="born expired"),
    ],
)
def test_a_rule_of_the_services_holds_here_too(api, body, pointer):
    a_model(model_id="claude-test-1")
    answer = api.post("keys", {"name": "ci"} | body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


# --- Change -------------------------------------------------------------------------------------


def test_a_change_leaves_the_rest(api):
    apikey = a_key(rpm=5, name="before")
    answer = api.patch(f"keys/{apikey.pk}", {"rpm": None})
    assert answer.json()["rpm"] is None
    assert answer.json()["name"] == "before"


def test_a_key_is_disabled_enabled_and_revoked(api):
    path = f"keys/{a_key().pk}"
    status = [api.post(f"{path}/{verb}").json()["status"] for verb in VERBS]
    assert status == ["disabled", "active", "revoked"]


VERBS = ("disable", "enable", "revoke")


def test_a_revoked_key_stays_revoked(api):
    apikey = a_key()
    apikey_revoke(apikey=apikey, acting_user=None)
    answer = api.post(f"keys/{apikey.pk}/enable")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:claudcode:problem:conflict"


def test_a_cache_is_purged(api, valkey):
    apikey = a_key()
    valkey.set(f"{{s00}}:r:k{apikey.pk}.0:abc", "answer")
    assert api.post(f"keys/{apikey.pk}/purge-cache").json() == {"deleted": 1}


def test_a_key_follows_its_plan(api):
    plan = a_plan(rpm=7)
    shown = api.post("keys", {"name": "ci", "plan_id": plan.pk, "concurrency": 2}).json()
    assert shown["plan_id"] == plan.pk
    assert "rpm" in shown["inherited"]
    assert (shown["concurrency"], "concurrency" in shown["inherited"]) == (2, False)
    changed = api.patch(f"keys/{shown['id']}", {"rpm": 9}).json()
    assert (changed["rpm"], "rpm" in changed["inherited"]) == (9, False)
    assert ids(api.get(f"keys?plan_id={plan.pk}")) == [shown["id"]]


def test_a_key_is_rotated(api):
    apikey, before = a_key_and_secret()
    shown = api.post(f"keys/{apikey.pk}/rotate", {"grace_s": 60}).json()
    apikey.refresh_from_db()
    assert apikey.digests == [digest(shown["secret"]), before.digest]
    assert shown["previous_expires_at"] is not None


def test_the_windows_of_a_plan_are_emptied_for_one_key(api):
    budget = a_budget(a_plan())
    apikey = a_key(plan=budget.plan)
    assert api.post(f"keys/{apikey.pk}/reset-budgets").status_code == 200
    window = InheritedWindow.objects.get(apikey=apikey)
    assert window.reset_at is not None


# --- Budgets ------------------------------------------------------------------------------------


def test_budgets_are_added_changed_reset_and_removed(api):
    path = f"keys/{a_key(budgets=()).pk}/budgets"
    body = {"unit": "tokens", "window_s": 3600, "limit": 10}
    added = api.post(path, body)
    assert added.status_code == 201
    one = f"{path}/{added.json()['id']}"
    assert api.put(one, body | {"limit": 20}).json()["limit"] == 20
    assert api.post(f"{one}/reset").json()["reset_at"] is not None
    assert api.delete(one).status_code == 204
    assert ids(api.get(path)) == []


def test_a_second_budget_of_one_window_is_refused(api):
    apikey = a_key(budgets=())
    a_budget(apikey)
    body = {"unit": "tokens", "window_s": 3600, "limit": 10}
    assert api.post(f"keys/{apikey.pk}/budgets", body).status_code == 422


def test_a_budget_is_reached_by_its_own_key_alone(api):
    budget = a_budget(a_key(budgets=()))
    assert api.get(f"keys/{a_key().pk}/budgets/{budget.pk}").status_code == 404


def test_budgets_of_a_team_need_the_scope_of_teams(api):
    budget = a_budget(a_team())
    assert api.get(f"teams/{budget.team_id}/budgets/{budget.pk}").status_code == 403
