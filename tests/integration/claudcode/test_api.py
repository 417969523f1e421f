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

# A test is no change: what it may resume is audited by the service.
WRITES = {
    name
    for name, (method, _, _) in OPERATIONS.items()
    if method not in SAFE_METHODS and name != "upstreams_test"
}
BUDGET = {"unit": "nanousd", "window_s": 60, "limit": 1}

# What each write is sent; the paths lead to rows that `ids` makes.
BODIES = {
    "cache_purge": None,
    "keys_create": {"name": "ci"},
    "keys_partial_update": {"rpm": 7},
    "keys_disable": None,
    "keys_enable": None,
    "keys_revoke": None,
    "keys_purge_cache": None,
    "keys_rotate": {},
    "keys_reset_budgets": None,
    "keys_budgets_create": BUDGET,
    "keys_budgets_update": BUDGET,
    "keys_budgets_destroy": None,
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
    "prices_create": PRICE | {"model_id": "claude-test-1"},
    "prices_partial_update": {"output_nanousd": 2},
    "teams_create": {"name": "new"},
    "teams_partial_update": {"rpm": 7},
    "teams_destroy": None,
    "teams_purge_cache": None,
    "teams_budgets_create": BUDGET,
    "teams_budgets_update": BUDGET,
    "teams_budgets_destroy": None,
    "teams_budgets_reset": None,
    "upstreams_create": {"name": "new", "base_url": "https://a.example", "credential": "secret-1"},
    "upstreams_partial_update": {"weight": 7},
    "upstreams_destroy": None,
    "upstreams_disable": None,
    "upstreams_enable": None,
    "upstreams_use_again": None,
}


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
    assert len(named) == 5
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
    assert needed.endswith("read" if method in SAFE_METHODS else "write")
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
    answer = send(api, name, ids, BODIES[name])
    assert answer.status_code in (200, 201, 204), answer.text
    (row,) = AuditEvent.objects.order_by("id")[before:]
    assert row.actor_name == f"token tests ({api.token.masked})"


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_write_that_is_sent_twice_leaves_one_row(name):
    ids = rows_for(name)
    api = ApiClient()
    before = AuditEvent.objects.count()
    answers = [send(api, name, ids, BODIES[name], idempotency_key="one") for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code
    assert AuditEvent.objects.count() == before + 1
