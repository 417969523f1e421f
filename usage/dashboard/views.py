"""The pages of usage. One question each: what is used now and over time, and what was a session?"""

from dataclasses import replace
from typing import Any

from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from usage import replica
from usage.core.figures import duration
from usage.dashboard import reader, recent
from usage.dashboard.arranging import (
    COLUMNS_COOKIE,
    Arranged,
    arrange,
    hidden_of,
    hiding,
    order_of,
    places,
)
from usage.dashboard.exports import as_csv, as_json
from usage.dashboard.filters import (
    GROUPS,
    MEASURES,
    SPANS,
    Filters,
    filters_of,
    groups_for,
)
from usage.dashboard.live import answer
from usage.dashboard.names import is_id, names
from usage.dashboard.panels import OPERATORS_ONLY, PANELS, Panel, make
from usage.dashboard.sign_in import for_viewers
from usage.dashboard.summary import summary
from usage.dashboard.tree import tree
from usage.dashboard.viewer import Viewer
from usage.reading.question import Group
from usage.replica import from_replica

CHARTS = ("use", "tokens", "requests", "saved", "first-byte", "total-time", "errors")
# For as long as browsers keep a cookie at most, or nearly.
YEAR_S = 365 * 86_400
LISTS = ("top-key", "top-team", "top-model", "top-client", "top-upstream")


@require_safe
@for_viewers
@from_replica
def home(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show what moves now, and what was used over time."""
    filters = filters_of(request, viewer, timezone.now())
    context = _about(viewer, filters) | {
        "now": _now(viewer),
        "summary": summary(filters),
        "charts": [_arranged(request, filters, name) for name in CHARTS],
        "lists": [_arranged(request, filters, name) for name in LISTS if _may(viewer, name)],
        "sessions": _arranged(request, filters, "sessions"),
    }
    return render(request, "usage/home.html", context)


@require_safe
@for_viewers
def now(_request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Answer whoever cannot hold a socket with what moves now."""
    return HttpResponse(reader.polled(viewer), content_type="application/json")


@require_safe
@for_viewers
@from_replica
def export(request: HttpRequest, viewer: Viewer, name: str, ending: str) -> HttpResponseBase:
    """Answer with one panel as a file."""
    _check(viewer, name)
    filters = filters_of(request, viewer, timezone.now())
    panel = make(name, filters)
    if panel.table is None:
        return HttpResponse(panel.problem, status=400, content_type="text/plain; charset=utf-8")
    order = places(panel.table, order_of(panel.table, filters))
    found = replace(panel.table, rows=tuple(panel.table.rows[n] for n in order))
    if ending == "csv":
        return as_csv(found)
    return as_json(found, _told(filters, found.title))


@require_safe
@for_viewers
@from_replica
def table(request: HttpRequest, viewer: Viewer, name: str) -> HttpResponse:
    """Answer with one table as it stands on the page, for a script that puts it there."""
    _check(viewer, name)
    filters = filters_of(request, viewer, timezone.now())
    context = _arranged(request, filters, name) | {"query": filters.query()}
    return render(request, "usage/table.html", context)


@require_POST
@for_viewers
def columns(request: HttpRequest, viewer: Viewer, name: str) -> HttpResponse:
    """Note in the browser which columns of a table to show: of those offered, those that came."""
    _check(viewer, name)
    hide = [
        each
        for each in request.POST.getlist("offered")
        if each not in request.POST.getlist("shown")
    ]
    query = QueryDict(request.POST.get("query", "")).urlencode()
    response = HttpResponseRedirect(f"{reverse('usage_home')}?{query}#panel-{name}")
    response.set_cookie(
        COLUMNS_COOKIE,
        hiding(hidden_of(request), name, hide),
        max_age=YEAR_S,
        path=reverse("usage_home"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response


@require_safe
@for_viewers
@from_replica
def session(request: HttpRequest, viewer: Viewer, session_id: str) -> HttpResponse:
    """Show one session of Claude Code as a tree of its agents."""
    filters = filters_of(request, viewer, timezone.now())
    key = request.GET.get("key", "")
    apikey_id = int(key) if is_id(key) else None
    found = tree(filters.scope, session_id, apikey_id)
    if not found.agents:
        raise Http404
    context = _about(viewer, filters) | {"tree": found, "session_id": session_id}
    if apikey_id is not None:
        context["key_name"] = names(Group.KEY, [str(apikey_id)])[str(apikey_id)]
    return render(request, "usage/session.html", context)


def _about(viewer: Viewer, filters: Filters) -> dict[str, Any]:
    groups = groups_for(viewer)
    return {
        "section": "usage",
        "age": duration(age_s) if (age_s := replica.shown_age_s()) else "",
        "viewer": viewer,
        "filters": filters,
        "query": filters.query(),
        "spans": [
            (filters.query(span=name), label, filters.span == name)
            for name, (label, _length) in SPANS.items()
        ],
        "measures": MEASURES,
        "groups": {name: label for name, (label, _group) in groups.items()},
        "chips": _chips(viewer, filters),
        "both": bool(viewer.team_ids and viewer.apikey_ids),
        "whose_link": filters.query(whose="" if filters.whose else "keys"),
        "before": (filters.start - (filters.end - filters.start), filters.start),
    }


def _chips(viewer: Viewer, filters: Filters) -> list[dict[str, str]]:
    chips = []
    for name, (label, group) in GROUPS.items():
        value = filters.only.get(group) if group is not None else None
        if group is not None and value is not None:
            chip = {"name": name, "label": label, "value": value}
            chip |= {"called": _called(viewer, group, value)}
            chips.append(chip | {"without": filters.query(**{name: None})})
    return chips


def _called(viewer: Viewer, group: Group, value: str) -> str:
    """Return a filter's name; of keys and teams that are not theirs a viewer learns no name."""
    own = viewer.apikeys()
    field = {Group.KEY: "pk", Group.TEAM: "team"}.get(group)
    if field and not (is_id(value) and own.filter(**{field: int(value)}).exists()):
        return value
    return names(group, [value])[value]


def _now(viewer: Viewer) -> dict[str, Any] | None:
    try:
        return answer(viewer, recent.read())
    except Error:
        return None  # The page says so, and goes on with what it can.


def _arranged(request: HttpRequest, filters: Filters, name: str) -> dict[str, Any]:
    """Return a panel, and its table as it stands on the page."""
    panel = make(name, filters)
    arranged: Arranged | None = None
    if panel.table is not None:
        arranged = arrange(panel.table, filters, hidden_of(request), _leading(panel, filters))
    return {"panel": panel, "arranged": arranged}


def _leading(panel: Panel, filters: Filters) -> list[str]:
    """Return where each row leads: to the page with that filter, or to the session."""
    if panel.name in LISTS:
        parameter = panel.name.removeprefix("top-")
        return [f"?{filters.query(**{parameter: name})}" if name else "" for name in panel.links]
    if panel.name != "sessions":
        return []
    found = [link.rpartition(" ") for link in panel.links]
    query = filters.query(key=None)
    return [f"{reverse('usage_session', args=[i])}?key={key}&{query}" for i, _, key in found]


def _told(filters: Filters, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "start": filters.start,
        "end": filters.end,
        "zone": filters.zone.key,
        "filters": {group.value: value for group, value in filters.only.items()},
    }


def _check(viewer: Viewer, name: str) -> None:
    if name not in PANELS or not _may(viewer, name):
        raise Http404


def _may(viewer: Viewer, name: str) -> bool:
    return viewer.everything or name not in OPERATORS_ONLY
