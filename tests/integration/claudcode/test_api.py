"""All of the management API at once: what its description names is guarded, audited, described."""

import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from keys.api.authentication import SAFE_METHODS
from keys.api.scopes import SCOPES
from keys.models import AuditEvent
from tests.management import ApiClient
from tests.operations import MODEL, OPERATIONS, PREFIX, PRICE, rows_for, send

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

# What calls other servers; tests of their own see to these.
CALLS = {
    "upstreams_test",
    "upstreams_import_models",
    "alert_targets_test",
    "webtools_tavily_test",
}
WRITES = {name for name, (method, _, _) in OPERATIONS.items() if method not in SAFE_METHODS} - CALLS
RAISE = {"limit": 5_000, "until": "2038-01-01T00:00:00Z"}
HOOK = {"name": "pager", "channel": "webhook", "address": "https://93.184.216.34/b"}
BUDGET = {"unit": "nanousd", "window_s": 60, "limit": 1}

# What each write is sent, or how that is made of the rows there are, to which the paths lead.
BODIES = {
    "alert_deliveries_replay": None,
    "alert_targets_create": HOOK,
    "alert_targets_partial_update": {"enabled": False},
    "alert_targets_destroy": None,
    "alert_targets_renew_secret": None,
    "cache_purge": None,
    "keys_create": {"name": "ci"},
    "keys_partial_update": {"rpm": 7},
    "keys_disable": None,
    "keys_enable": None,
    "keys_revoke": None,
    "keys_purge_cache": None,
    "keys_rotate": {},
    "keys_end_grace": None,
    "keys_extend": {"expires_at": None},
    "keys_change_plan": {"plan_id": None},
    "keys_raise_budget": RAISE | {"unit": "tokens", "window_s": 3600},
    "keys_end_raise": {"unit": "tokens", "window_s": 3600},
    "keys_import": {"csv": "name\nci\n"},
    "keys_reset_budgets": None,
    "keys_budgets_create": BUDGET,
    "keys_budgets_update": BUDGET,
    "keys_budgets_destroy": None,
    "keys_budgets_raise": RAISE,
    "keys_budgets_end_raise": None,
    "keys_budgets_reset": None,
    "maintenance_update": {"enabled": True},
    "models_create": MODEL | {"model_id": "claude-new-1"},
    "models_partial_update": {"enabled": False},
    "plans_create": {"name": "new", "rpm": 5},
    "plans_partial_update": {"rpm": 7},
    "plans_destroy": None,
    "plans_budgets_create": BUDGET,
    "plans_budgets_update": BUDGET,
    "plans_budgets_destroy": None,
    "plans_budgets_raise": RAISE,
    "plans_budgets_end_raise": None,
    "prices_create": PRICE | {"model_id": "claude-test-1"},
    "prices_partial_update": {"output_nanousd": 2},
    "teams_create": {"name": "new"},
    "teams_partial_update": {"rpm": 7},
    "teams_destroy": None,
    "teams_purge_cache": None,
    "teams_members_create": lambda ids: {"user_id": ids["user_id"]},
    "teams_members_partial_update": {"lead": True},
    "teams_members_destroy": None,
    "teams_budgets_create": BUDGET,
    "teams_budgets_update": BUDGET,
    "teams_budgets_destroy": None,
    "teams_budgets_raise": RAISE,
    "teams_budgets_end_raise": None,
    "teams_budgets_reset": None,
    "tokens_create": {"name": "ci", "scopes": ["keys:read"]},
    "tokens_revoke": None,
    "upstreams_create": {"name": "new", "base_url": "https://a.example", "credential": "secret-1"},
    "upstreams_partial_update": {"weight": 7},
    "upstreams_destroy": None,
    "upstreams_disable": None,
    "upstreams_enable": None,
    "upstreams_use_again": None,
    "webtools_prices_create": {"starts_at": "2031-01-01T00:00:00Z", "credit_nanousd": 1},
    "webtools_prices_partial_update": {"credit_nanousd": 1},
    "webtools_rules_create": lambda ids: {"plan_id": ids["plan_id"], "calls_per_day": 5},
    "webtools_rules_partial_update": {"enabled": False},
    "webtools_rules_destroy": None,
    "webtools_tavily_partial_update": {"credential": "tvly-secret-1"},
}


def body_of(name, ids):
    said = BODIES[name]
    return said(ids) if callable(said) else said


@pytest.fixture(autouse=True)
def _credential_keys(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]


# --- The description ----------------------------------------------------------------------------


def test_the_description_is_valid_and_whole():
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")


def test_the_description_is_open_to_all():
    answer = Client().get("/api/v1/openapi.json")
    assert answer.json()["openapi"] == "3.1.0"


def test_the_page_takes_nothing_from_another_site():
    page = Client().get("/api/v1/docs")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)


def test_every_file_of_the_page_is_there():
    named = re.findall(r"(?:src|href)=\"/static/([^\"]+)\"", Client().get("/api/v1/docs").text)
    assert len(named) == 6
    assert all(finders.find(name) for name in named)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_every_write_takes_an_idempotency_key(name):
    parameters = OPERATIONS[name][2]["parameters"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in parameters]


# --- Tokens and scopes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_needs_a_token(name):
    method, path, _ = OPERATIONS[name]
    answer = Client().generic(method, PREFIX + re.sub(r"{\w+}", "1", path))
    assert answer.status_code == 401


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"token_retrieve"}))
def test_every_operation_needs_its_scope(name):
    method, _, operation = OPERATIONS[name]
    needed = re.search(r"Scope: `([a-z:]+)`", operation["description"])[1]
    assert needed.endswith("read" if method in SAFE_METHODS else ("write", "operate"))
    api = ApiClient(*(SCOPES.keys() - {needed}))
    assert send(api, name, {}).status_code == 403


# --- The audit trail ----------------------------------------------------------------------------


def test_every_write_is_tried():
    assert BODIES.keys() == WRITES


@pytest.mark.parametrize("name", sorted(BODIES))
def test_every_write_leaves_one_row_that_names_the_token(name):
    ids = rows_for(name)
    api = ApiClient()
    before = AuditEvent.objects.count()
    answer = send(api, name, ids, body_of(name, ids))
    assert answer.status_code in (200, 201, 204), answer.text
    (row,) = AuditEvent.objects.order_by("id")[before:]
    assert row.actor_name == f"token tests ({api.token.masked})"


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_write_that_is_sent_twice_leaves_one_row(name):
    ids = rows_for(name)
    api = ApiClient()
    before = AuditEvent.objects.count()
    body = body_of(name, ids)
    answers = [send(api, name, ids, body, idempotency_key="one") for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code
    assert AuditEvent.objects.count() == before + 1
