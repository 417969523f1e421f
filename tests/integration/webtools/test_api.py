"""Web tools over the management API: a credential goes in and never comes out; rules, prices."""

import pytest
from cryptography.fernet import Fernet

from keys.models import AuditEvent
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key, a_plan
from tests.management import ApiClient
from webtools.models import CreditPrice, ToolRule
from webtools.terms import load_terms

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SECRET = "tvly-a-secret-that-nobody-may-see-1234"
ACCOUNT = "webtools/tavily"


@pytest.fixture
def api(settings) -> ApiClient:
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.TAVILY_API_KEY = settings.TAVILY_STAND_IN_URL = ""
    return ApiClient("webtools:*")


def test_a_credential_goes_in_and_never_comes_out(api):
    answers = [api.patch(ACCOUNT, {"credential": SECRET}), api.get(ACCOUNT)]
    assert [answer.json()["credential_hint"] for answer in answers] == ["…1234"] * 2
    said = "".join(answer.text for answer in answers) + str(list(AuditEvent.objects.values()))
    assert SECRET not in said
    assert load_terms(a_key().pk).credential.secret == SECRET


def test_a_credential_is_in_no_problem_and_in_no_kept_answer(api):
    refused = api.patch(ACCOUNT, {"credential": SECRET + " x"})
    assert refused.status_code == 422
    repeated = [api.patch(ACCOUNT, {"credential": SECRET}, idempotency_key="a") for _ in range(2)]
    assert SECRET not in refused.text + "".join(answer.text for answer in repeated)


def test_a_credential_is_taken_away_and_kept_by_other_changes(api):
    api.patch(ACCOUNT, {"credential": SECRET})
    assert api.patch(ACCOUNT, {"calls_per_day": 9}).json()["credential_hint"] == "…1234"
    assert api.patch(ACCOUNT, {"credential": ""}).json()["credential_hint"] == ""


def test_without_keys_to_seal_with_no_credential_is_taken(api, settings):
    settings.CREDENTIAL_KEYS = []
    answer = api.patch(ACCOUNT, {"credential": SECRET})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/credential"


def test_looking_at_the_account_writes_nothing(api):
    before = AuditEvent.objects.count()
    assert api.get(ACCOUNT).json()["enabled"] is True
    assert AuditEvent.objects.count() == before


def test_the_credential_is_tried(api, settings):
    assert api.post(f"{ACCOUNT}/test").json() == {
        "good": False,
        "text": "There is no credential for Tavily.",
    }
    with SimulatorProcess() as simulator:
        settings.TAVILY_BASE_URL = simulator.url
        api.patch(ACCOUNT, {"credential": SECRET})
        assert api.post(f"{ACCOUNT}/test").json()["good"] is True


def test_who_may_set_rules_need_not_touch_the_account():
    operator = ApiClient("webtools:operate")
    assert operator.patch(ACCOUNT, {"enabled": False}).status_code == 403
    assert operator.post(f"{ACCOUNT}/test").status_code == 403
    made = operator.post("webtools/rules", {"plan_id": a_plan().pk, "enabled": False})
    assert made.status_code == 201
    assert (
        ApiClient("webtools:write").delete(f"webtools/rules/{made.json()['id']}").status_code == 403
    )


def test_a_rule_lives_and_ends(api):
    apikey = a_key()
    made = api.post("webtools/rules", {"apikey_id": apikey.pk, "calls_per_day": 5})
    path = f"webtools/rules/{made.json()['id']}"
    assert (made.status_code, made.json()["enabled"]) == (201, True)
    assert api.patch(path, {"enabled": False}).json()["calls_per_day"] == 5
    assert not load_terms(apikey.pk).enabled
    assert len(api.get(f"webtools/rules?apikey_id={apikey.pk}").json()["items"]) == 1
    assert api.get("webtools/rules?plan_id=1").json()["items"] == []
    assert api.delete(path).status_code == 204
    assert load_terms(apikey.pk).enabled


def test_a_holder_has_one_rule(api):
    body = {"plan_id": a_plan().pk}
    assert [api.post("webtools/rules", body).status_code for _ in range(2)] == [201, 409]
    assert ToolRule.objects.count() == 1


@pytest.mark.parametrize("both", [True, False])
def test_a_rule_is_of_a_key_or_of_a_plan(api, both):
    body = {"apikey_id": a_key().pk, "plan_id": a_plan().pk} if both else {}
    assert api.post("webtools/rules", body).status_code == 400


def test_a_new_price_is_a_new_row(api):
    body = {"starts_at": "2031-01-01T00:00:00Z", "credit_nanousd": 7_000_000}
    made = api.post("webtools/prices", body)
    assert made.status_code == 201
    assert CreditPrice.objects.count() == 2
    assert api.post("webtools/prices", body).status_code == 422  # From the same instant on.
    path = f"webtools/prices/{made.json()['id']}"
    assert api.patch(path, {"credit_nanousd": 6}).json()["credit_nanousd"] == 6
