"""`python -m bench.console`: how long the console's pages take at a million keys.

Starts Postgres and Valkey of its own, fills them with a crowd, and asks for each page as somebody
who may see everything. A page's time is the server's, without a network and without a browser.

**CPU** is what the page, its Postgres backend and the workers of that spent, without waiting for
their turn: on a busy machine it says more than the clock. Postgres counts by hundredths of a
second.

The first time Valkey knows no window, as after it lost everything: each budget is added up from
the roll-up. Before the others the keys that a page shows are loaded as their next use would.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.stage import ENVIRONMENT, FORGOTTEN
from claudcode import env
from claudcode.engines import pair
from claudcode.engines.state import StateFolder

TARGET_MS = 300
ROUNDS = 5


def main() -> int:
    """Fill, measure, print; return the exit code."""
    options = _parse()
    with _engines(options.folder) as fresh:
        from bench import crowd

        if fresh:
            crowd.fill(
                keys=options.keys, rows=options.rows, say=lambda text: print(text, flush=True)
            )
        crowd.fill_beside()
        if not options.fill_only:
            _measure(options)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.console", description="Measure the console's pages.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the ledger")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", metavar="WORD", help="pages whose name has it")
    parser.add_argument("--sql", action="store_true", help="print the slowest statements too")
    parser.add_argument("--fill-only", action="store_true")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep the data there, and use it another time"
    )
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> None:
    client, token = _signed_in(), _token()
    print(f"load average {os.getloadavg()[0]:.1f}, {options.rounds} rounds; milliseconds")
    print(f"{'page':36} {'first':>7} {'median':>7} {'CPU':>7} {'queries':>8}")
    for name, (address, query) in _pages().items():
        if options.only in name:
            _measure_page(partial(client.get, address, query), name, options)
    for name, (address, query) in _addresses().items():
        if options.only in name:
            ask = partial(client.get, address, query, headers={"authorization": f"Bearer {token}"})
            _measure_page(ask, name, options)


def _measure_page(ask: Callable[[], Any], name: str, options: argparse.Namespace) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times, busy = [], []
    for _ in range(options.rounds + 1):
        began, used = time.perf_counter(), _cpu_ms()
        answer = ask()
        times.append((time.perf_counter() - began) * 1000)
        busy.append(_cpu_ms() - used)
        assert answer.status_code == 200, (name, answer.status_code, answer.content[:300])
        if not times[1:]:
            _load_windows(answer)
    with CaptureQueriesContext(connection) as queries:
        ask()
    first, *rest = times
    missed = "" if mean(busy[1:]) <= TARGET_MS else "  missed"
    figures = f"{first:7.0f} {median(rest):7.0f} {mean(busy[1:]):7.0f} {len(queries):8}"
    print(f"{name:36} {figures}{missed}", flush=True)
    slowest = sorted(queries.captured_queries, key=lambda query: -float(query["time"]))
    for each in slowest[:3] if options.sql else ():
        print(f"    {each['time']} s  {each['sql'][:600]}")


def _cpu_ms() -> float:
    """Return the processor time of this process, of its backend, and of the backend's workers."""
    from django.db import connection

    connection.ensure_connection()
    backend = _stat(connection.connection.info.backend_pid)
    # Workers of a query have ended when it has: the first of Postgres counts its children.
    children = _stat(int(backend[1]))[13:15]
    ticks = sum(map(int, (*backend[11:13], *children)))
    return (time.process_time() + ticks / os.sysconf("SC_CLK_TCK")) * 1000


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _load_windows(answer: Any) -> None:
    """Load the windows of the keys that a page shows, as a gateway does when they are used."""
    from keys.models import ApiKey

    context = answer.context or {}
    shown = context["cl"].result_list if "cl" in context else [context.get("apikey")]
    apikeys = [each for each in shown if isinstance(each, ApiKey)]
    if apikeys:
        asyncio.run(_peek(apikeys))


async def _peek(apikeys: list[Any]) -> None:
    from asgiref.sync import sync_to_async
    from django.conf import settings
    from redis.asyncio import Redis

    from keys.limiter import Limiter
    from keys.policy import load_policies
    from proxy.cold_start import LedgerHistory
    from proxy.database import Database

    policies = await sync_to_async(load_policies)(apikeys)
    valkey, database = Redis.from_url(settings.VALKEY_URL), Database()
    limiter = Limiter(valkey, LedgerHistory(database), lease_ttl_ms=60_000, seconds_max=60)
    for policy in policies.values():
        await limiter.peek(policy)
    await limiter.close()
    await valkey.aclose()
    database.close()


def _signed_in() -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    operator, _ = User.objects.get_or_create(
        username="crowd-operator", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client(SERVER_NAME="localhost")
    client.force_login(operator, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _token() -> str:
    from django.contrib.auth.models import User

    from keys.api.scopes import SCOPES
    from keys.api.tokens import operatortoken_issue

    operator = User.objects.get(username="crowd-operator")
    return operatortoken_issue(name="bench", scopes=list(SCOPES), acting_user=operator)[1].text


def _pages() -> dict[str, tuple[str, dict[str, str]]]:
    from django.urls import reverse

    from keys.models import ApiKey, Plan, Team
    from usage.admin.keyset import place_of
    from usage.models import LedgerEntry

    busy = ApiKey.objects.order_by("id")[0]
    idle = ApiKey.objects.order_by("-id")[0]
    newest = LedgerEntry.objects.order_by("-settled_at")[0]
    oldest = LedgerEntry.objects.order_by("settled_at")[0]
    team, plan = Team.objects.order_by("id")[5], Plan.objects.order_by("id")[0]
    today = f"{newest.settled_at:%Y-%m-%dT00:00:00Z}"

    keys, ledger = reverse("admin:keys_apikey_changelist"), _list("usage_ledgerentry")
    lists = {
        "home": (reverse("admin:index"), {}),
        "home, the part that updates": (reverse("console_home_live"), {}),
        "keys": (keys, {}),
        "keys, page 20": (keys, {"p": "20"}),
        "keys that work": (keys, {"status": "active"}),
        "keys that are disabled": (keys, {"status": "disabled"}),
        "keys that expired": (keys, {"status": "expired"}),
        "keys revoked": (keys, {"status": "revoked"}),
        "keys that expire within 7 days": (keys, {"expires": "7"}),
        "keys that never expire": (keys, {"expires": "never"}),
        "keys used in the last 24 hours": (keys, {"used": "day"}),
        "keys never used": (keys, {"used": "never"}),
        "keys of a team": (keys, {"team__id__exact": str(team.pk)}),
        "keys of a plan": (keys, {"plan__id__exact": str(plan.pk)}),
        "keys of a team that work": (keys, {"team__id__exact": str(team.pk), "status": "active"}),
        "keys named 'laptop' (an eighth)": (keys, {"q": "laptop"}),
        "keys by a whole name": (keys, {"q": busy.name}),
        "keys by part of a name": (keys, {"q": busy.name[7:13]}),
        "keys by a name that none has": (keys, {"q": "nobody's"}),
        "keys by two letters": (keys, {"q": "qz"}),
        "keys by last four": (keys, {"q": busy.last_four}),
        "keys by owner": (keys, {"q": str(busy.owner)}),
        "keys by team": (keys, {"q": team.name}),
        "keys by prefix": (keys, {"q": busy.prefix}),
        "busiest key": (_one("keys_apikey", busy.pk), {}),
        "busiest key, 30 days": (_one("keys_apikey", busy.pk), {"span": "30d"}),
        "idle key": (_one("keys_apikey", idle.pk), {}),
        "new key": (reverse("admin:keys_apikey_add"), {}),
        "teams": (_list("keys_team"), {}),
        "teams by name": (_list("keys_team"), {"q": "team 199"}),
        "one team": (_one("keys_team", team.pk), {}),
        "plans": (_list("keys_plan"), {}),
        "one plan": (_one("keys_plan", plan.pk), {}),
        "ledger": (ledger, {}),
        "ledger, further back": (ledger, {"before": place_of(newest)}),
        "ledger, the very end": (ledger, {"before": place_of(oldest)}),
        "ledger, what went wrong": (ledger, {"status": "any"}),
        "ledger, hung up (none did)": (ledger, {"status": "hung_up"}),
        "ledger, today": (ledger, {"settled_at__gte": today}),
        "ledger of a key": (ledger, {"q": busy.prefix}),
        "ledger of a key, what went wrong": (ledger, {"q": idle.prefix, "status": "any"}),
        "ledger of a team": (ledger, {"q": team.name}),
        "ledger by a name that none has": (ledger, {"q": "nobody's"}),
        "ledger by a common name": (ledger, {"q": "laptop"}),
        "one exchange": (_one("usage_ledgerentry", newest.pk), {}),
        "an exchange by its id": (ledger, {"q": newest.request_id}),
        "hourly roll-ups": (_list("usage_hourlyrollup"), {}),
        "hourly roll-ups of a key": (_list("usage_hourlyrollup"), {"q": busy.prefix}),
        "audit": (_list("keys_auditevent"), {}),
        "audit of keys": (_list("keys_auditevent"), {"target": "apikey"}),
        "audit of teams (none)": (_list("keys_auditevent"), {"target": "team"}),
        "audit by who": (_list("keys_auditevent"), {"q": "operator7"}),
        "audit by who (nobody)": (_list("keys_auditevent"), {"q": "nobody"}),
        "audit by a target": (_list("keys_auditevent"), {"q": str(busy.pk)}),
        "upstreams": (_list("proxy_upstreamaccount"), {}),
        "new upstream": (reverse("admin:proxy_upstreamaccount_add"), {}),
        "models": (_list("keys_claudemodel"), {}),
        "prices": (_list("usage_price"), {}),
        "dead letters": (_list("usage_deadletter"), {}),
        "alerts": (_list("alerts_alert"), {}),
        "alerts that are open": (_list("alerts_alert"), {"state": "open"}),
        "alerts of budgets, over": (_list("alerts_alert"), {"state": "over", "kind": "budget"}),
        "alerts by a name": (_list("alerts_alert"), {"q": busy.name}),
        "alerts by a name that none has": (_list("alerts_alert"), {"q": "nobody's"}),
        "alert targets": (_list("alerts_alerttarget"), {}),
        "deliveries": (_list("alerts_alertdelivery"), {}),
        "deliveries given up (none)": (_list("alerts_alertdelivery"), {"state": "dead"}),
        "deliveries by target": (_list("alerts_alertdelivery"), {"q": "target 3"}),
        "operators": (_list("auth_user"), {}),
        "operators by name": (_list("auth_user"), {"q": "grace77"}),
        "operator": (_one("auth_user", busy.owner_id), {}),
        "operator tokens": (_list("keys_operatortoken"), {}),
        "new operator token": (reverse("admin:keys_operatortoken_add"), {}),
        "Tavily account": (_one("webtools_tavilyaccount", 1), {}),
        "prices of web tools": (_list("webtools_creditprice"), {}),
        "rules for web tools": (_list("webtools_toolrule"), {}),
        "new rule for web tools": (reverse("admin:webtools_toolrule_add"), {}),
        "own second factor": (reverse("operators:second_factor"), {}),
        "choice of keys in a form": _choice("webtools", "toolrule", "apikey"),
        "choice of owners in a form": _choice("keys", "apikey", "owner"),
        "choice of teams in a form": _choice("keys", "apikey", "team"),
    }
    usage = reverse("usage_home")
    return lists | {
        "usage": (usage, {}),
        "usage, an hour": (usage, {"span": "1h"}),
        "usage, 30 days": (usage, {"span": "30d"}),
        "usage by key, 30 days": (usage, {"span": "30d", "group": "key"}),
        "usage by team, 30 days": (usage, {"span": "30d", "group": "team"}),
        "usage of a key": (usage, {"key": str(busy.pk)}),
        "usage of a team, 30 days": (usage, {"span": "30d", "team": str(team.pk)}),
        "usage, what moves now": (reverse("usage_now"), {}),
    }


def _addresses() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the lists of the management API."""
    from keys.models import ApiKey

    busy = ApiKey.objects.order_by("id")[0]
    plain = ("keys", "teams", "plans", "models", "prices", "upstreams", "alerts", "alert-targets")
    plain += ("alert-deliveries", "webtools/prices", "webtools/rules", "ledger", "audit", "tokens")
    most = {"limit": "200"}
    asked = {f"API: {name}": (f"/api/v1/{name}", most) for name in plain}
    return asked | {
        "API: keys of a team": ("/api/v1/keys", {"team_id": "5"} | most),
        "API: keys that work": ("/api/v1/keys", {"status": "active"} | most),
        "API: keys that expired": ("/api/v1/keys", {"status": "expired"} | most),
        "API: members": ("/api/v1/teams/5/members", most),
        "API: alerts that are open": ("/api/v1/alerts", {"state": "open"} | most),
        "API: alerts of budgets": ("/api/v1/alerts", {"kind": "budget"} | most),
        "API: deliveries given up": ("/api/v1/alert-deliveries", {"state": "dead"} | most),
        "API: ledger of a key": ("/api/v1/ledger", {"apikey_id": str(busy.pk)} | most),
        "API: ledger of a team": ("/api/v1/ledger", {"team_id": "5"} | most),
        "API: ledger, trouble": ("/api/v1/ledger", {"status": "trouble"} | most),
        "API: audit of a key": (
            "/api/v1/audit",
            {"target_type": "apikey", "target_id": str(busy.pk)} | most,
        ),
        "API: usage of a day": ("/api/v1/usage", {}),
        "API: usage of a day by model and hour": ("/api/v1/usage", {"group_by": "model,hour"}),
        "API: usage of a day by team": ("/api/v1/usage", {"group_by": "team"}),
        "API: usage of a key by day": (
            "/api/v1/usage",
            {"group_by": "day", "apikey_id": str(busy.pk), "since": "2026-11-01T00:00:00Z"},
        ),
    }


def _choice(app: str, model: str, field: str) -> tuple[str, dict[str, str]]:
    from django.urls import reverse

    asked = {"app_label": app, "model_name": model, "field_name": field, "term": "ada7"}
    return reverse("admin:autocomplete"), asked


def _list(name: str) -> str:
    from django.urls import reverse

    return reverse(f"admin:{name}_changelist")


def _one(name: str, pk: Any) -> str:
    from django.urls import reverse

    return reverse(f"admin:{name}_change", args=[pk])


@contextlib.contextmanager
def _engines(kept: Path | None) -> Iterator[bool]:
    """Run Postgres and Valkey on a folder, and migrate; give whether it is a new one."""
    # Directly under /tmp: short enough for sockets, reachable for the user Postgres runs as.
    folder = kept or Path(tempfile.mkdtemp(prefix="claudcode-console-", dir="/tmp"))
    fresh = not (folder / "filled").exists()
    with contextlib.ExitStack() as stack:
        if kept is None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in FORGOTTEN:
            env.export(name, "")
        for name, value in ENVIRONMENT.items():
            env.export(name, value)
        env.export("CLAUDCODE_STATE", str(folder))
        env.use_settings()
        state = StateFolder(folder)
        lock = state.lock()
        assert lock is not None, f"{folder} is in use"
        stack.enter_context(lock)
        engines = stack.enter_context(pair.running(state, with_postgres=True, with_valkey=True))
        assert engines.postgres is not None
        assert engines.valkey is not None
        env.export("DATABASE_URL", engines.postgres.url)
        env.export("VALKEY_URL", engines.valkey.url)
        _migrate(stack)
        yield fresh
        (folder / "filled").touch()


def _migrate(stack: contextlib.ExitStack) -> None:
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    stack.callback(connection.close_pool)
    stack.callback(connection.close)
    call_command("migrate", interactive=False, verbosity=0)


if __name__ == "__main__":
    sys.exit(main())
