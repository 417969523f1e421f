"""Every operation of the management API by its name, and rows for each to work on."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from keys.api.tokens import operatortoken_issue
from keys.models import ApiKey
from keys.services import (
    apikey_change_plan,
    apikey_disable,
    apikey_rotate,
    apikey_update,
    budget_raise,
    member_add,
)
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.models import AlertDelivery
from operators.alerts.raising import alerts_raise
from operators.alerts.services import target_add
from proxy.accounts import load_account
from proxy.services import upstream_add, upstream_suspend
from tests.factories import a_budget, a_key, a_model, a_plan, a_spec, a_stranger, a_team
from tests.management import ApiClient
from usage.models import Price
from webtools.models import CreditPrice
from webtools.services import tool_rule_set

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
        if "members" in rest:
            ids["id"] = member_add(team=holder, user=a_stranger(), acting_user=None).pk
            ids["user_id"] = a_stranger().pk  # Who may come into it.
        if "budgets" in rest:
            budget = a_budget(holder)
            ids["id"] = budget.pk if rest[0] == "budgets" else holder.pk
            if name.endswith("end_raise"):
                until = timezone.now() + timedelta(days=1)
                budget_raise(budget=budget, limit=10**6, until=until, acting_user=None)
        if area == "keys":
            _ready(name, holder)
        return ids
    if area in ("models", "prices"):
        model = a_model(model_id="claude-test-1")
        if area == "models":
            return {"id": model.pk}
        price = {k: v for k, v in PRICE.items() if k != "starts_at"}
        return {"id": Price.objects.create(model=model, starts_at="2030-01-01T00:00Z", **price).pk}
    if area == "upstreams":
        return {"id": an_account(name)}
    if area == "tokens":
        token, _ = operatortoken_issue(name="other", scopes=["keys:read"], acting_user=None)
        return {"id": token.pk}
    if area == "webtools":
        return _of_web_tools(name)
    return {"id": _of_alerts(name)} if area in ("alert", "alerts") else {}


def _ready(name: str, apikey: ApiKey) -> None:
    """Bring a key into the state in which the operation `name` changes it."""
    tomorrow = timezone.now() + timedelta(days=1)
    if name == "keys_enable":
        apikey_disable(apikey=apikey, acting_user=None)
    elif name == "keys_end_grace":
        apikey_rotate(apikey=apikey, acting_user=None)
    elif name == "keys_extend":
        apikey_update(apikey=apikey, changes={"expires_at": tomorrow}, acting_user=None)
    elif name in ("keys_change_plan", "keys_raise_budget", "keys_end_raise"):
        # Its plan's, which binds it as its own would.
        plan = a_plan(budgets=[a_spec()])
        followed = apikey_change_plan(apikey=apikey, plan=plan, acting_user=None)
        if name == "keys_end_raise":
            more: dict[str, Any] = {"limit": 10**6, "until": tomorrow, "apikey": followed}
            budget_raise(budget=plan.budgets.get(), **more, acting_user=None)


def _of_alerts(name: str) -> int:
    now = timezone.now()
    target, _ = target_add(
        name="hook", channel="webhook", address="https://93.184.216.34/a", acting_user=None
    )
    if name.startswith("alert_targets"):
        return target.pk
    finding = Finding(Kind.DRAIN, Subject.GATEWAY, 0, "", None, "drain", EPOCH, "It is behind.")
    (alert,) = alerts_raise([finding], now)
    if name.startswith("alerts"):
        return alert.pk
    delivery = alert.deliveries.get()
    if name == "alert_deliveries_replay":
        AlertDelivery.objects.update(next_at=None, dead_at=now)
    return delivery.pk


def _of_web_tools(name: str) -> dict[str, int]:
    if name.startswith("webtools_prices"):
        return {"id": CreditPrice.objects.latest("starts_at").pk}
    plan = a_plan()
    ids = {"plan_id": plan.pk}
    if name.startswith("webtools_rules") and not name.endswith("create"):
        ids["id"] = tool_rule_set(holder=plan, changes={}, acting_user=None).pk
    return ids


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
