"""Every operation of the management API by its name, and rows for each to work on."""

import re
from functools import partial

from drf_spectacular.generators import SchemaGenerator

from keys.services import apikey_disable
from proxy.accounts import load_account
from proxy.services import upstream_add, upstream_suspend
from tests.factories import a_budget, a_key, a_model, a_plan, a_team
from tests.management import ApiClient
from usage.models import Price

PREFIX = "/api/v1/"
DESCRIPTION = SchemaGenerator().get_schema(request=None, public=True)
OPERATIONS = {
    operation["operationId"]: (method.upper(), path.removeprefix(PREFIX), operation)
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
}
RATES = ("input", "output", "cache_creation", "cache_creation_1h", "cache_read")
PRICE = {f"{rate}_nanousd": 1_000 for rate in RATES} | {"starts_at": "2031-01-01T00:00:00Z"}
MODEL = {
    "display_name": "Test",
    "released_at": "2026-01-01T00:00:00Z",
    "context_window_tokens": 200_000,
    "output_tokens_max": 64_000,
}


def send(api: ApiClient, name: str, ids: dict[str, int], body=None, **headers: str):
    method, path, _ = OPERATIONS[name]
    filled = re.sub(r"{(\w+)}", lambda found: str(ids.get(found[1], 1)), path)
    return api.send(method, filled, body, **headers)


def rows_for(name: str) -> dict[str, int]:
    """Make what the operation `name` changes and return its numbers."""
    area, *rest = name.split("_")
    if area in ("keys", "teams", "plans"):
        make = {"keys": partial(a_key, budgets=()), "teams": a_team, "plans": a_plan}[area]
        holder = make()
        parent = {"keys": "apikey_id", "teams": "team_id", "plans": "plan_id"}[area]
        ids = {"id": holder.pk, parent: holder.pk}
        if "budgets" in rest:
            budget = a_budget(holder)
            ids["id"] = budget.pk if rest[0] == "budgets" else holder.pk
        if name == "keys_enable":
            apikey_disable(apikey=holder, acting_user=None)
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
