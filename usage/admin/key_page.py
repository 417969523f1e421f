"""What a key's own page says of its use: where it stands now, its exchanges, a chart, its trail.

Leads of teams see what the key did for the teams that they lead, and its trail since it came to
its team: what it was before belongs to others.
"""

import datetime as dt
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from keys.admin.audit import change_text
from keys.admin.base import moment
from keys.inheritance import own_or_plan
from keys.leads import held_to_teams, visible
from keys.models import ApiKey, AuditEvent, ClaudeModel
from usage import reports
from usage.admin import drawings
from usage.core.figures import compact
from usage.core.price import NANOUSD_PER_USD, humane_usd
from usage.models import LedgerEntry
from usage.standing import standings

EXCHANGES_SHOWN = 10
EVENTS_SHOWN = 20
# How often the part that says how a key stands reads itself again: a few milliseconds each.
REFRESH_SECONDS = 5
# How long a chart looks back: by which step, how many, and how one is called.
SPANS = {"24h": (reports.HOUR, 24, "%H:%M"), "30d": (reports.DAY, 30, "%d %b")}


def may_see_use(user: User) -> bool:
    """Return whether `user` sees what keys use, of all teams or of those that they lead."""
    return user.has_perm("usage.view_hourlyrollup") or held_to_teams(user)


def live(user: User, apikey: ApiKey) -> dict[str, Any]:
    """Return how the key stands at this moment, and its last exchanges if `user` may see them."""
    now = timezone.now()
    now_ms = int(now.timestamp() * 1000)
    standing = standings([apikey], now)[apikey.pk]
    context = {
        "apikey": apikey,
        "rpm_limit": own_or_plan(apikey, "rpm"),
        "concurrency_limit": own_or_plan(apikey, "concurrency"),
        "standing": standing,
        "budget_bars": [drawings.budget_bar(each, now_ms) for each in standing.budgets],
    }
    if user.has_perm("usage.view_ledgerentry") or held_to_teams(user):
        entries = visible(user, LedgerEntry.objects.filter(apikey=apikey)).order_by("-settled_at")
        context["exchanges"] = [_exchange(entry) for entry in entries[:EXCHANGES_SHOWN]]
    return context


def history(user: User, apikey: ApiKey, span: str) -> dict[str, Any]:
    """Return what the key used in `span`, and what was done to it, of all that `user` may see."""
    context: dict[str, Any] = {"may_see_use": may_see_use(user)}
    if context["may_see_use"]:
        context |= _use(user, apikey, span)
    if user.has_perm("keys.view_auditevent") or held_to_teams(user):
        context["events"] = [_event(each) for each in _events(user, apikey)[:EVENTS_SHOWN]]
    return context


def _use(user: User, apikey: ApiKey, span: str) -> dict[str, Any]:
    """Return what one key used, by hour or by day, as a chart and as its table."""
    span = span if span in SPANS else "24h"
    step, count, label = SPANS[span]
    now = timezone.now()
    begun = reports.hour_of(now) if step == reports.HOUR else reports.midnight(now)
    since = begun - (count - 1) * step
    held = {"apikey": apikey.pk} | reports.held_by_teams_of(user)
    rows = reports.series(since, now, step, **held)
    total = reports.sum_of(row.totals for row in rows)
    return {
        "span": span,
        "spans": tuple(SPANS),
        "chart": _chart(rows, reports.costs_by_model(since, now, step, **held), label),
        "rows": [_row(row) for row in reversed(rows) if row.totals.requests],
        "sum": total,
        "sum_cost": humane_usd(total.cost_nanousd),
        "sum_tokens": compact(total.tokens),
    }


def _chart(
    rows: list[reports.Step], models: dict[str, dict[dt.datetime, int]], label: str
) -> dict[str, Any]:
    catalogue = list(ClaudeModel.objects.values_list("model_id", flat=True))
    dollars = {
        name: [costs.get(row.at, 0) / NANOUSD_PER_USD for row in rows]
        for name, costs in models.items()
    }
    labels = [row.at.strftime(label) for row in rows]
    return drawings.stacked_chart(labels, dollars, drawings.model_colors(catalogue))


def _events(user: User, apikey: ApiKey) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.filter(target_type="apikey", target_id=apikey.pk).order_by("-id")
    if not held_to_teams(user):
        return events
    came = events.filter(detail__has_key="team").values_list("pk", flat=True).first()
    return events if came is None else events.filter(pk__gte=came)


def _row(step: reports.Step) -> dict[str, Any]:
    return {"at": step.at, "totals": step.totals, "cost": humane_usd(step.totals.cost_nanousd)}


def _exchange(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "entry": entry,
        "settled": moment(entry.settled_at),
        "model": entry.model_answered or entry.model_requested,
        "tokens": f"{entry.charged_tokens:,}",
        "cost": humane_usd(entry.cost_nanousd),
        "seconds": f"{entry.total_ms / 1000:,.1f}",
    }


def _event(event: AuditEvent) -> dict[str, Any]:
    return {"event": event, "when": moment(event.at), "change": change_text(event.detail)}
