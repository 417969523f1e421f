"""The console's home: what needs attention, how today compares, who uses most.

One question: is everything all right, and if not, where do I go? It reads the roll-up and Valkey,
never the ledger, and reads itself again while somebody looks.
"""

import datetime as dt
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from claudcode.console.attention import alerts
from claudcode.console.today import Figures, figures
from keys.leads import held_to_teams
from keys.models import ApiKey, ClaudeModel
from usage import replica, reports
from usage.admin import drawings
from usage.admin.key_page import may_see_use
from usage.core.figures import change, compact, percent
from usage.core.price import NANOUSD_PER_USD, humane_usd
from usage.reports import Totals

REFRESH_SECONDS = 10
BUSIEST = 8


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the context of the admin's index what its template shows. Called by unfold."""
    now = timezone.now()
    found = _figures(request, now)
    context |= live(request, now, found) | {
        "title": "Home",
        "refresh_seconds": REFRESH_SECONDS,
        "home_chart": _chart(now, found) if found else None,
    }
    return context


def fragment(request: HttpRequest) -> HttpResponse:
    """Answer with the part of the home that changes, for the script that reads it again."""
    now = timezone.now()
    found = _figures(request, now)
    return render(request, "admin/console/home_live.html", live(request, now, found))


def live(request: HttpRequest, now: dt.datetime, found: Figures | None) -> dict[str, Any]:
    """Return what changes from moment to moment, of all that the user may see."""
    context: dict[str, Any] = {"alerts": alerts(_user(request)), "may_see_use": found is not None}
    if found is not None:
        context["tiles"] = _tiles(*found.so_far(now))
        context["busiest"] = _busiest(request, found.busiest)
    return context


def fragment_view(request: HttpRequest) -> HttpResponse:
    """The fragment, for those who may enter the console."""
    return admin.site.admin_view(fragment)(request)


def _tiles(today: Totals, yesterday: Totals) -> list[dict[str, str]]:
    before = "by this time yesterday"
    cost, saved = humane_usd(today.cost_nanousd), humane_usd(today.saved_nanousd)
    return [
        _tile(
            "Requests",
            compact(today.requests),
            f"{today.requests:,}",
            _moved(today.requests, yesterday.requests),
        ),
        _tile(
            "Tokens",
            compact(today.tokens),
            f"{today.tokens:,}",
            _moved(today.tokens, yesterday.tokens),
        ),
        _tile(
            "Cost",
            cost,
            f"{today.cost_nanousd:,} nano-dollars",
            _moved(today.cost_nanousd, yesterday.cost_nanousd),
        ),
        _tile(
            "From the cache",
            _cache_share(today),
            f"{today.cache_hits:,} hits, {saved} saved",
            f"{_cache_share(yesterday)} {before}",
        ),
        _tile(
            "Errors",
            percent(today.errors, today.requests),
            f"{today.errors:,} of {today.requests:,}",
            f"{percent(yesterday.errors, yesterday.requests)} {before}",
        ),
    ]


def _tile(name: str, figure: str, exact: str, note: str) -> dict[str, str]:
    return {"name": name, "figure": figure, "exact": exact, "note": note}


def _moved(today: int, yesterday: int) -> str:
    return f"{change(today, yesterday)} against yesterday by now"


def _cache_share(totals: Totals) -> str:
    return percent(totals.cache_hits, totals.cache_hits + totals.cache_misses)


def _busiest(request: HttpRequest, ranked: list[tuple[int, Totals]]) -> list[dict[str, Any]]:
    found = ApiKey.objects.select_related("team").in_bulk([pk for pk, _totals in ranked])
    may_open = _user(request).has_perm("keys.view_apikey") or held_to_teams(_user(request))
    return [
        {
            "name": found[pk].name if pk in found else f"key {pk}",
            "team": str(found[pk].team or "–") if pk in found else "–",
            "href": reverse("admin:keys_apikey_change", args=[pk]) if may_open else "",
            "requests": f"{totals.requests:,}",
            "tokens": compact(totals.tokens),
            "tokens_exact": f"{totals.tokens:,}",
            "errors": f"{totals.errors:,}",
            "cost": humane_usd(totals.cost_nanousd),
        }
        for pk, totals in ranked
    ]


def _figures(request: HttpRequest, now: dt.datetime) -> Figures | None:
    if not may_see_use(_user(request)):
        return None
    held_by = reports.held_by_teams_of(_user(request))
    return replica.read(lambda: figures(now, BUSIEST, **held_by))


def _chart(now: dt.datetime, found: Figures) -> dict[str, Any] | None:
    """Return the cost of each of the last 24 hours by model."""
    since = reports.hour_of(now) - 23 * reports.HOUR
    models = found.costs_by_model(since)
    if not models:
        return None
    hours = [since + n * reports.HOUR for n in range(24)]
    dollars = {
        name: [costs.get(hour, 0) / NANOUSD_PER_USD for hour in hours]
        for name, costs in models.items()
    }
    catalogue = list(ClaudeModel.objects.values_list("model_id", flat=True))
    labels = [f"{hour:%H:%M}" for hour in hours]
    return drawings.stacked_chart(labels, dollars, drawings.model_colors(catalogue))


def _user(request: HttpRequest) -> User:
    # Nobody comes here who has not signed in.
    return cast(User, request.user)
