"""What of usage is shown: the span, its zone, by what it is told apart, and what is left out.

All of it stands in the URL, so that a page can be sent to somebody else; they see of it what is
theirs to see. A value that means nothing is replaced by the default, and said to be.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.utils.http import urlencode

from usage.dashboard.viewer import Viewer
from usage.reading.question import Group, Span, Step, Unanswerable, zone_named
from usage.reading.scope import Scope, everything, of_keys, of_teams

SPANS = {
    "1h": ("Hour", dt.timedelta(hours=1)),
    "6h": ("6 hours", dt.timedelta(hours=6)),
    "24h": ("24 hours", dt.timedelta(hours=24)),
    "7d": ("7 days", dt.timedelta(days=7)),
    "30d": ("30 days", dt.timedelta(days=30)),
    "90d": ("90 days", dt.timedelta(days=90)),
    "1y": ("Year", dt.timedelta(days=365)),
}
SPAN_DEFAULT = "24h"
MEASURES = {
    "cost": "Cost",
    "tokens": "Tokens",
    "requests": "Requests",
    "errors": "Errors",
    "saved": "Saved by the response cache",
}
GROUPS = {
    "model": ("Model", Group.MODEL),
    "key": ("Key", Group.KEY),
    "team": ("Team", Group.TEAM),
    "client": ("Client", Group.CLIENT),
    "upstream": ("Upstream", Group.UPSTREAM),
    "error": ("Error type", Group.ERROR),
    "none": ("Nothing", None),
}
ZONE_COOKIE = "usage_zone"
QUARTER = dt.timedelta(minutes=15)
VALUE_CHARS_MAX = 200
# `sort-` and a table's name, of which there are some dozen.
_ORDER = re.compile(r"sort-([a-z-]{1,20})")
ORDERS_MAX = 20


@dataclass(frozen=True, slots=True)
class Filters:
    """What is shown. `span` is "" when start and end were chosen; `only` are values by group.

    `orders` are the columns that tables are sorted by, as typed, by the table's name.
    """

    scope: Scope
    whose: str
    span: str
    start: dt.datetime
    end: dt.datetime
    zone: ZoneInfo
    measure: str
    group: str
    only: Mapping[Group, str]
    problem: str = ""
    orders: Mapping[str, str] = field(default_factory=dict)

    @property
    def was(self) -> str:
        """What the form says of start and end when nobody touched them."""
        return f"{_local(self.start)}/{_local(self.end)}"

    @property
    def step(self) -> Step:
        """How long a bar is: some dozens of them fill the span."""
        length = self.end - self.start
        if length <= dt.timedelta(hours=12):
            return Step.QUARTER
        if length <= dt.timedelta(days=4):
            return Step.HOUR
        return Step.DAY if length <= dt.timedelta(days=120) else Step.WEEK

    @property
    def group_by(self) -> Group | None:
        """By what the main chart is told apart."""
        return GROUPS[self.group][1]

    def query(self, **changes: str | None) -> str:
        """Return the query string of this with some parts changed, `None` taking one out."""
        said: dict[str, str | None] = {"whose": self.whose, "zone": self.zone.key}
        if self.span:
            said["span"] = self.span
        else:
            said |= {"since": _local(self.start), "until": _local(self.end)}
        said |= {"measure": self.measure, "group": self.group}
        said |= {_parameter(group): value for group, value in self.only.items()}
        said |= {f"sort-{name}": order for name, order in self.orders.items()}
        if changes.get("span"):
            said |= {"since": None, "until": None}
        return urlencode({k: v for k, v in (said | changes).items() if v not in (None, "")})


def filters_of(request: HttpRequest, viewer: Viewer, now: dt.datetime) -> Filters:
    """Return what the request asks for, of what the viewer may see."""
    asked = {name: str(value) for name, value in request.GET.items()}
    problems: list[str] = []
    zone = _zone(request, problems)
    span, start, end = _span(asked, zone, now, problems)
    groups = groups_for(viewer)
    whose = asked.get("whose", "")
    return Filters(
        scope=_scope(viewer, whose),
        whose=whose if whose == "keys" and viewer.team_ids else "",
        span=span,
        start=start,
        end=end,
        zone=zone,
        measure=asked["measure"] if asked.get("measure") in MEASURES else "cost",
        group=asked["group"] if asked.get("group") in groups else "model",
        only=_only(asked, groups),
        problem=" ".join(problems),
        orders=_orders(asked),
    )


def groups_for(viewer: Viewer) -> dict[str, tuple[str, Group | None]]:
    """Return by what this viewer may tell use apart: accounts upstream are the operators'."""
    return {
        name: group for name, group in GROUPS.items() if viewer.everything or name != "upstream"
    }


def _scope(viewer: Viewer, whose: str) -> Scope:
    if viewer.everything:
        return everything()
    if viewer.team_ids and whose != "keys":
        return of_teams(viewer.team_ids)
    return of_keys(viewer.apikey_ids)


def _zone(request: HttpRequest, problems: list[str]) -> ZoneInfo:
    name = request.GET.get("zone") or request.COOKIES.get(ZONE_COOKIE, "")
    try:
        return zone_named(name) if name else ZoneInfo("UTC")
    except Unanswerable as error:
        problems.append(f"{error} These are times of UTC.")
        return ZoneInfo("UTC")


def _span(
    asked: Mapping[str, str], zone: ZoneInfo, now: dt.datetime, problems: list[str]
) -> tuple[str, dt.datetime, dt.datetime]:
    until = _round_up(now).astimezone(zone)
    # The form always says both; untouched, it is still the span that moves on with time.
    untouched = f"{asked.get('since')}/{asked.get('until')}" == asked.get("was")
    if asked.get("since") and not untouched:
        try:
            start = _instant(asked["since"], zone)
            end = _instant(asked["until"], zone) if asked.get("until") else until
            Span(start, end)
            Span(start, end).before  # noqa: B018  It must be there to be compared with.
            return "", start, end
        except (ValueError, OverflowError) as error:
            told = str(error) if isinstance(error, Unanswerable) else "These are no two instants."
            problems.append(f"{told} Shown are the last 24 hours.")
    span = asked["span"] if asked.get("span") in SPANS else SPAN_DEFAULT
    return span, until - SPANS[span][1], until


def _instant(text: str, zone: ZoneInfo) -> dt.datetime:
    at = dt.datetime.fromisoformat(text)
    return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)


def _round_up(now: dt.datetime) -> dt.datetime:
    # What is shown ends with the quarter of an hour that is under way.
    whole = now.astimezone(dt.UTC).replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    return whole + QUARTER


def _only(
    asked: Mapping[str, str], groups: Mapping[str, tuple[str, Group | None]]
) -> dict[Group, str]:
    found = {}
    for name, (_label, group) in groups.items():
        value = asked.get(name, "")[:VALUE_CHARS_MAX].replace("\0", "")
        if group is not None and value:
            found[group] = value
    return found


def _orders(asked: Mapping[str, str]) -> dict[str, str]:
    named = [(_ORDER.fullmatch(name), value) for name, value in asked.items()]
    found = [(match[1], value[:VALUE_CHARS_MAX]) for match, value in named if match and value]
    return dict(found[:ORDERS_MAX])


def _parameter(group: Group) -> str:
    return next(name for name, (_label, each) in GROUPS.items() if each is group)


def _local(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M")
