"""How the gateway stands, for anyone who asks: its parts, its upstreams, what happened lately.

Strangers read it: accounts go by a number here, and no text of an error or an alert is repeated.
An operator is also told the names. Looked at most every few seconds; whatever part is away, the
rest is told.
"""

import datetime as dt
import enum
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from keys.models import AuditEvent, Maintenance
from operators.alerts.core.rules import Kind
from operators.alerts.models import Alert
from portal.remembered import Remembered
from portal.stores import postgres_answers, valkey_answers
from proxy.models import UpstreamAccount
from proxy.standing import State, standings
from usage.core.figures import duration
from usage.ledger import drain_lag

AGE_S_MAX = 3.0
# The drain runs every second; some seconds are a busy moment.
LAG_S = 10.0
INCIDENTS_SINCE = dt.timedelta(days=7)
INCIDENTS_MAX = 20

logger = logging.getLogger(__name__)


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    LIMITED = "limited"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that exchanges depend on. `private_name` is for operators alone."""

    name: str
    level: Level
    words: str
    detail: str = ""
    private_name: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that was not as it should be. `ended_at` is `None` while it is so."""

    began_at: dt.datetime
    ended_at: dt.datetime | None
    words: str
    private_words: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one instant. `incidents` is `None` when nobody can tell."""

    looked_at: dt.datetime
    level: Level
    words: str
    parts: tuple[Part, ...]
    upstreams: tuple[Part, ...]
    incidents: tuple[Incident, ...] | None


def _look() -> Status:
    postgres, valkey = postgres_answers(), valkey_answers()
    upstreams, maintenance, incidents = _stored() if postgres else ((), None, None)
    parts = (_gateway(maintenance), _valkey(valkey), _postgres(postgres), _ledger(valkey))
    level = _worst((*parts, *_together(upstreams)))
    return Status(timezone.now(), level, _summary(level), parts, upstreams, incidents)


status = Remembered(_look, AGE_S_MAX)


def _stored() -> tuple[tuple[Part, ...], Maintenance | None, tuple[Incident, ...] | None]:
    try:
        maintenance = Maintenance.objects.filter(enabled=True).first()
        return _upstreams(), maintenance, _incidents(timezone.now() - INCIDENTS_SINCE)
    except DatabaseError as error:
        logger.warning("the status is not known in full: %s", type(error).__name__)
        return (), None, None


def _gateway(maintenance: Maintenance | None) -> Part:
    if maintenance is not None:
        return Part("Gateway", Level.DOWN, "Under maintenance", maintenance.message)
    if settings.UPSTREAM_SIMULATED:
        detail = "Answers are made up by a simulator: no upstream account is set up."
        return Part("Gateway", Level.LIMITED, "Simulated", detail)
    return Part("Gateway", Level.OK, "Works")


def _valkey(answers: bool) -> Part:
    if answers:
        return Part("Limits and cache", Level.OK, "Works")
    detail = "Requests get 503 until the store of limits is back."
    return Part("Limits and cache", Level.DOWN, "Does not answer", detail)


def _postgres(answers: bool) -> Part:
    if answers:
        return Part("Keys and ledger", Level.OK, "Works")
    detail = "Keys that were used lately go on working; others get 503. Nothing is lost."
    return Part("Keys and ledger", Level.LIMITED, "Does not answer", detail)


def _ledger(valkey: bool) -> Part:
    name = "Usage figures"
    try:
        lag_s = drain_lag() if valkey else None
    except RedisError:
        lag_s = None
    if lag_s is None:
        return Part(name, Level.LIMITED, "Unknown", "Nobody can tell how far they are behind.")
    if lag_s <= LAG_S:
        return Part(name, Level.OK, "Up to date")
    detail = "Budgets are exact all the same; what is shown of the past is that old."
    return Part(name, Level.LIMITED, f"{duration(lag_s)} behind", detail)


_UPSTREAM_WORDS = {
    State.IN_USE: (Level.OK, "Works"),
    State.RESTING: (Level.LIMITED, "Resting after errors"),
    State.SUSPENDED: (Level.DOWN, "Suspended"),
    State.UNUSABLE: (Level.DOWN, "Not usable"),
}


def _upstreams() -> tuple[Part, ...]:
    rows = list(UpstreamAccount.objects.filter(enabled=True).order_by("priority", "pk"))
    found = standings(rows)
    shown = [row for row in rows if found[row.pk].state in _UPSTREAM_WORDS]
    return tuple(
        Part(f"Upstream {number}", *_UPSTREAM_WORDS[found[row.pk].state], private_name=row.name)
        for number, row in enumerate(shown, start=1)
    )


def _together(upstreams: Iterable[Part]) -> tuple[Part, ...]:
    """Return the upstreams as one part: another one answers while any works."""
    levels = [part.level for part in upstreams]
    if not levels or all(level is Level.OK for level in levels):
        return ()
    level = Level.DOWN if all(level is Level.DOWN for level in levels) else Level.LIMITED
    return (Part("Upstreams", level, ""),)


def _worst(parts: Iterable[Part]) -> Level:
    levels = {part.level for part in parts}
    return next(level for level in reversed(Level) if level in {*levels, Level.OK})


def _summary(level: Level) -> str:
    if level is Level.OK:
        return "Everything works"
    if level is Level.LIMITED:
        return "Requests are answered, but not everything works"
    return "Requests are not answered"


_ALERT_WORDS = {
    Kind.UPSTREAM: "An upstream account was in trouble",
    Kind.DRAIN: "Usage figures were behind",
}


def _incidents(since: dt.datetime) -> tuple[Incident, ...]:
    found = [*_of_alerts(since), *_of_maintenance(since)]
    found.sort(key=lambda incident: incident.began_at, reverse=True)
    return tuple(found[:INCIDENTS_MAX])


def _of_alerts(since: dt.datetime) -> list[Incident]:
    kinds = [kind.value for kind in _ALERT_WORDS]
    lately = Q(raised_at__gte=since) | Q(resolved_at=None)
    rows = Alert.objects.filter(lately, kind__in=kinds)[:INCIDENTS_MAX]
    return [
        Incident(row.raised_at, row.resolved_at, _ALERT_WORDS[Kind(row.kind)], row.text)
        for row in rows
    ]


def _of_maintenance(since: dt.datetime) -> list[Incident]:
    """Return each time that maintenance was on, from the audit trail."""
    rows = AuditEvent.objects.filter(
        target_type="maintenance",
        target_id=Maintenance.SINGLETON_ID,
        detail__has_key="enabled",
    )
    found: list[Incident] = []
    for row in reversed(list(rows[: 2 * INCIDENTS_MAX])):
        if row.detail["enabled"][-1]:
            found.append(Incident(row.at, None, "Maintenance"))
        elif found and found[-1].ended_at is None:
            found[-1] = Incident(found[-1].began_at, row.at, "Maintenance")
    return [each for each in found if each.ended_at is None or each.ended_at >= since]
