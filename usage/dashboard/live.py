"""What moves now, as one answer for a viewer: the last minute, what is in flight, budgets.

The same answer goes through sockets and to whoever polls. Figures come as text with their units,
so that a page only puts them in place; exact numbers are beside them.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from django.utils import timezone
from redis import RedisError

from keys.core.limits import Unit
from keys.live import in_flight, in_flight_of_all
from keys.models import ApiKey, Team
from usage.admin import drawings
from usage.core.figures import compact, duration, percent
from usage.core.price import humane_usd
from usage.dashboard.recent import STEP_S, STEPS, Recent, Row, Sums
from usage.dashboard.viewer import Viewer
from usage.history import holder_of
from usage.ledger import drain_lag
from usage.standing import BudgetStanding, standings

# Keys whose budgets and exchanges in flight are asked for, the busiest first.
KEYS_MAX = 50
BUDGETS_SHOWN = 8
BUSIEST_SHOWN = 5
# The drain runs every second; beyond this the figures are late and say so.
BEHIND_S = 5.0

Answer = dict[str, Any]


def answer(viewer: Viewer, recent: Recent) -> Answer:
    """Return what `viewer` sees of the present. At most six queries and a few words to Valkey."""
    rows = list(recent.seen_by(*viewer.sees))
    apikeys = _apikeys(viewer, rows)
    minute = _sum(rows)
    return {
        "at": int(recent.at_s * 1000),
        "in_flight": _in_flight(viewer, apikeys),
        "tokens": {"text": compact(minute.tokens), "exact": f"{minute.tokens:,}"},
        "requests": {"text": compact(minute.requests), "exact": f"{minute.requests:,}"},
        "cost": {"text": humane_usd(minute.cost_nanousd)},
        "errors": {
            "text": f"{minute.errors:,}",
            "share": percent(minute.errors, minute.requests),
            "count": minute.errors,
        },
        "steps": _steps(recent, rows),
        "budgets": _budgets(apikeys, recent.rows),
        "busiest": _busiest(apikeys, rows),
        "behind": _behind(recent.age_s),
    }


def _sum(rows: Iterable[Row]) -> Sums:
    sums = Sums()
    for row in rows:
        sums.add(row)
    return sums


def _steps(recent: Recent, rows: list[Row]) -> list[dict[str, int]]:
    sums = {recent.first_step + n: Sums() for n in range(STEPS)}
    for row in rows:
        if row.step in sums:
            sums[row.step].add(row)
    return [
        {
            "at": step * STEP_S * 1000,
            "tokens": sums[step].tokens,
            "requests": sums[step].requests,
            "errors": sums[step].errors,
        }
        for step in sorted(sums)
    ]


def _by_key(rows: list[Row]) -> dict[int, Sums]:
    found: dict[int, Sums] = {}
    for row in rows:
        found.setdefault(row.apikey_id, Sums()).add(row)
    return dict(sorted(found.items(), key=lambda item: (-item[1].tokens, item[0])))


def _apikeys(viewer: Viewer, rows: list[Row]) -> list[ApiKey]:
    """Return the keys that were busiest in the last minute; whoever has few sees all of them."""
    busiest = list(_by_key(rows))[:KEYS_MAX]
    visible = viewer.apikeys().select_related("team", "plan")
    found = visible.in_bulk(busiest)
    apikeys = [found[pk] for pk in busiest if pk in found]
    if viewer.everything or len(apikeys) == KEYS_MAX:
        return apikeys
    others = visible.filter(revoked_at=None).exclude(pk__in=found).order_by("-pk")
    return apikeys + list(others[: KEYS_MAX - len(apikeys)])


def _in_flight(viewer: Viewer, apikeys: list[ApiKey]) -> int | None:
    """Return the exchanges in flight, `None` when nobody knows."""
    try:
        if viewer.everything:
            return in_flight_of_all()
        teams = list(Team.objects.filter(pk__in=viewer.team_ids))
        own = [each for each in apikeys if each.team_id not in viewer.team_ids]
        return in_flight([*teams, *own])
    except RedisError:
        return None


def _busiest(apikeys: list[ApiKey], rows: list[Row]) -> list[dict[str, str]]:
    names = {apikey.pk: apikey for apikey in apikeys}
    return [
        {
            "name": names[pk].name,
            "key": names[pk].masked,
            "requests": f"{sums.requests:,}",
            "tokens": compact(sums.tokens),
            "cost": humane_usd(sums.cost_nanousd),
        }
        for pk, sums in list(_by_key(rows).items())[:BUSIEST_SHOWN]
        if pk in names
    ]


def _behind(age_s: float) -> str:
    try:
        lag_s = drain_lag()
    except RedisError:
        return "Valkey does not answer: what is in flight and left of budgets is not known."
    if age_s:
        return f"These figures are {duration(lag_s + age_s)} old."
    return f"The ledger is {duration(lag_s)} behind." if lag_s > BEHIND_S else ""


def _budgets(apikeys: list[ApiKey], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the budgets that are used most, with the time they last at the last minute's pace.

    `rows` are everybody's: a team's budget is used up by keys that the viewer may not see.
    """
    now = timezone.now()
    found: dict[str, tuple[BudgetStanding, ApiKey]] = {}
    stand = standings(apikeys, now) if apikeys else {}
    for apikey in apikeys:
        for budget in stand[apikey.pk].budgets:
            found.setdefault(budget.limit.window_name, (budget, apikey))
    worst = sorted(found.values(), key=lambda each: -each[0].share)[:BUDGETS_SHOWN]
    return [_budget(budget, apikey, rows, now) for budget, apikey in worst]


def _budget(
    budget: BudgetStanding, apikey: ApiKey, rows: Sequence[Row], now: dt.datetime
) -> dict[str, Any]:
    left = max(0, budget.limit.limit - budget.used - budget.held)
    money = budget.limit.unit is Unit.NANOUSD
    level = drawings.level(budget.share)
    return {
        "name": str(apikey.team) if budget.of_team else apikey.name,
        "holder": "team" if budget.of_team else apikey.masked,
        "amounts": drawings.budget_amounts(budget),
        "exact": drawings.budget_title(budget),
        "share": round(min(1.0, budget.share), 4),
        "level": level,
        "word": "spent"
        if budget.share >= 1
        else {"near": "near its limit", "spent": "nearly spent"}.get(level, ""),
        "left": humane_usd(left) if money else f"{compact(left)} tokens",
        "frees": drawings.frees(budget, int(now.timestamp() * 1000)),
        "lasts": _lasts(budget, left, rows),
    }


def _lasts(budget: BudgetStanding, left: int, rows: Sequence[Row]) -> str:
    """Return how long what is left lasts if every minute were like the last."""
    if left == 0:
        return "nothing left"
    used = _sum(row for row in rows if _is_of(row, budget))
    pace = used.cost_nanousd if budget.limit.unit is Unit.NANOUSD else used.charged_tokens
    if not pace:
        return "nothing was used in the last minute"
    lasts_s = 60 * left / pace
    if lasts_s > budget.limit.window_s:
        return f"lasts {duration(budget.limit.window_s)} and longer at this pace"
    return f"runs out in {duration(lasts_s)} at this pace"


def _is_of(row: Row, budget: BudgetStanding) -> bool:
    holder = holder_of(budget.limit.scope)
    if holder["team_id"] is not None:
        return row.team_id == holder["team_id"]
    return row.apikey_id == holder["apikey_id"]
