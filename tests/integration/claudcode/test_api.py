"""All of the management API at once: what its description names is guarded, audited, described."""

import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from keys.api.authentication import SAFE_METHODS
from keys.api.scopes import SCOPES
from keys.models import AuditEvent
from proxy.accounts import load_account
from proxy.services import upstream_add, upstream_suspend
from tests.factories import a_budget, a_key, a_model, a_team
from tests.management import ApiClient
from usage.models import Price

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

PREFIX = "/api/v1/"
DESCRIPTION = SchemaGenerator().get_schema(request=None, public=True)
OPERATIONS = {
    operation["operationId"]: (method.upper(), path.removeprefix(PREFIX), operation)
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
}
# A test is no change: what it may resume is audited by the service.
WRITES = {
    name
    for name, (method, _, _) in OPERATIONS.items()
    if method not in SAFE_METHODS and name != "upstreams_test"
}
RATES = ("input", "output", "cache_creation", "cache_creation_1h", "cache_read")
PRICE = {f"{rate}_nanousd": 1_000 for rate in RATES} | {"starts_at": "2031-01-01T00:00:00Z"}
MODEL = {
    "display_name": "Test",
    "released_at": "2026-01-01T00:00:00Z",
    "context_window_tokens": 200_000,
    "output_tokens_max": 64_000,
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
    "keys_budgets_create": BUDGET,
    "keys_budgets_update": BUDGET,
    "keys_budgets_destroy": None,
    "keys_budgets_reset": None,
    "maintenance_update": {"enabled": True},
    "models_create": MODEL | {"model_id": "claude-new-1"},
    "models_partial_update": {"enabled": False},
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


def send(api: ApiClient, name: str, ids: dict[str, int], body=None, **headers: str):
    method, path, _ = OPERATIONS[name]
    filled = re.sub(r"{(\w+)}", lambda found: str(ids.get(found[1], 1)), path)
    return api.send(method, filled, body, **headers)


def rows_for(name: str) -> dict[str, int]:
    """Make what the operation `name` changes and return its numbers."""
    area, *rest = name.split("_")
    if area in ("keys", "teams"):
        holder = a_key(budgets=()) if area == "keys" else a_team()
        parent = {"keys": "apikey_id", "teams": "team_id"}[area]
        ids = {"id": holder.pk, parent: holder.pk}
        if rest[0] == "budgets":
            ids["id"] = a_budget(holder).pk
        if name == "keys_enable":
            send(ApiClient(), "keys_disable", ids)
        return ids
    if area in ("models", "prices"):
        model = a_model(model_id="claude-test-1")
        if area == "models":
            return {"id": model.pk}
        price = {k: v for k, v in PRICE.items() if k != "starts_at"}
        return {"id": Price.objects.create(model=model, starts_at="2030-01-01T00:00Z", **price).pk}
    if area == "upstreams":
        return {"id": an_account(name)}
    return {}


def an_account(name: str) -> int:
    account = upstream_add(
        name="first",
        base_url="https://upstream.example",
        credential="secret-0",
        enabled=name != "upstreams_enable",
        acting_user=None,
    )
    if name == "upstreams_use_again":
        fingerprint = load_account(account).fingerprint
        upstream_suspend(account_id=account.pk, fingerprint=fingerprint, reason="HTTP 401")
    return account.pk


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
