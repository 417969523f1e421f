"""What raises an alert: facts in, findings out. Knows no store and no clock.

A finding is one thing that is so now. It is named by `key` (what, of whom, which level) and by
`slot`, the window in which it came to be: while an alert with the key is open nothing is raised
again, and once it is resolved not before another slot begins.

    budget           the window's step of its own length, an hour at least, counted from 1970; an
                     anchored window's own beginning; a reset of the window begins a slot too
    expiring key     the instant of expiry: an extended key is announced anew
    unusual spend    the day
    upstream, drain  the hour; a suspension's own instant

Of several levels that are reached at once all are kept and only the highest is sent.
"""

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass

BUDGET_PERCENTS = (50, 75, 90, 100)
EXPIRY_DAYS = (7, 1)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Unusual spend. Below a dollar an hour nobody wants to be woken.
SPEND_NANOUSD_MIN = 1_000_000_000
SPEND_TIMES = 3
HABIT_DAYS = 14
# Fewer hours of use than these are no habit to be held against.
HABIT_HOURS_MIN = 24
# Rests of seconds are how the pool works; one that lasts this long is somebody's business.
RESTING_S = 300.0
# As `proxy.standing` names what is worth an alert.
UPSTREAM_STATES = ("unusable", "suspended", "resting")


class Kind(enum.StrEnum):
    """What an alert is about."""

    BUDGET = "budget"
    EXPIRING = "expiring"
    SPEND = "spend"
    UPSTREAM = "upstream"
    DRAIN = "drain"


class Subject(enum.StrEnum):
    """Of whom it tells."""

    APIKEY = "apikey"
    TEAM = "team"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is so now. `threshold` is in percent or days, 0 where there is none.

    `quiet` ones are kept and not sent: a higher level of the same was reached with them.
    """

    kind: Kind
    subject: Subject
    subject_id: int
    subject_name: str
    team_id: int | None
    key: str
    slot: dt.datetime
    text: str
    threshold: int = 0
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How a budget stands. `amounts` says it in words; `ends_at` is an anchored window's end."""

    window_name: str
    subject: Subject
    subject_id: int
    subject_name: str
    team_id: int | None
    used: int
    limit: int
    window_s: int
    amounts: str
    reset_at: dt.datetime = EPOCH
    ends_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Habit:
    """What a key usually costs: how many hours it was used in, and the cost below which 95 of 100
    of them stayed."""

    hours: int
    high_nanousd: int


def budget_key(window_name: str, percent: int) -> str:
    """Return the name of one level of one budget."""
    return f"budget {window_name} {percent}"


def budget_findings(use: BudgetUse, now: dt.datetime) -> list[Finding]:
    """Return a finding for each level that the budget has reached, the highest last.

    A limit of nothing is never used up: that is how it was meant.
    """
    reached = [p for p in BUDGET_PERCENTS if use.limit and use.used * 100 >= p * use.limit]
    return [
        Finding(
            kind=Kind.BUDGET,
            subject=use.subject,
            subject_id=use.subject_id,
            subject_name=use.subject_name,
            team_id=use.team_id,
            key=budget_key(use.window_name, percent),
            slot=budget_slot(use, now),
            text=_budget_text(use, percent),
            threshold=percent,
            quiet=percent != reached[-1],
        )
        for percent in reached
    ]


def budget_slot(use: BudgetUse, now: dt.datetime) -> dt.datetime:
    """Return the beginning of the window in which a level counts as crossed once."""
    window = dt.timedelta(seconds=use.window_s)
    if use.ends_at is not None and window >= HOUR:
        return (use.ends_at - window).replace(microsecond=0)
    # A window of a minute fills every minute: nobody is told more than once an hour.
    step = max(window, HOUR)
    return max(EPOCH + (now - EPOCH) // step * step, use.reset_at)


def expiry_findings(
    apikey_id: int, name: str, team_id: int | None, expires_at: dt.datetime, now: dt.datetime
) -> list[Finding]:
    """Return a finding for each number of days that the key has less than, the fewest last."""
    left = expires_at - now
    near = [days for days in EXPIRY_DAYS if dt.timedelta() < left <= days * DAY]
    text = f"Key {name} expires at {expires_at:%Y-%m-%d %H:%M} UTC. Then it gets 401."
    return [
        Finding(
            kind=Kind.EXPIRING,
            subject=Subject.APIKEY,
            subject_id=apikey_id,
            subject_name=name,
            team_id=team_id,
            key=f"expiring k{apikey_id} {days}",
            slot=expires_at,
            text=text,
            threshold=days,
            quiet=days != near[-1],
        )
        for days in near
    ]


def unusual(spent_nanousd: int, habit: Habit) -> bool:
    """Return whether an hour's spend is far above the key's habit.

    That is: a dollar or more, by a key that was used in 24 hours or more of the last 14 days, and
    at least three times what 95 of 100 of those hours cost.
    """
    return (
        spent_nanousd >= SPEND_NANOUSD_MIN
        and habit.hours >= HABIT_HOURS_MIN
        and spent_nanousd >= SPEND_TIMES * habit.high_nanousd
    )


def resting_long(left_s: float, seen_s: float) -> bool:
    """Return whether a rest is long: it has that much to go, or was seen again and again."""
    return left_s >= RESTING_S or seen_s >= RESTING_S


def hour_of(at: dt.datetime) -> dt.datetime:
    """Return the beginning of the hour, in UTC."""
    return at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: dt.datetime) -> dt.datetime:
    """Return the beginning of the day, in UTC."""
    return hour_of(at).replace(hour=0)


def family(key: str) -> tuple[str, ...]:
    """Return the names of all that is over only together with `key`: levels, or states."""
    base, _, last = key.rpartition(" ")
    kind = key.partition(" ")[0]
    lasts = {
        Kind.BUDGET.value: [str(percent) for percent in BUDGET_PERCENTS],
        Kind.EXPIRING.value: [str(days) for days in EXPIRY_DAYS],
        Kind.UPSTREAM.value: UPSTREAM_STATES,
    }.get(kind, ())
    return tuple(f"{base} {each}" for each in lasts) if last in lasts else (key,)


def over_text(text: str, raised_at: dt.datetime) -> str:
    """Return what is said when an alert is over."""
    return f"It is over, since {raised_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC it was: {text}"


def keys_of(findings: Iterable[Finding]) -> set[str]:
    """Return the names of what is so now."""
    return {finding.key for finding in findings}


def _budget_text(use: BudgetUse, percent: int) -> str:
    who = f"{'Team' if use.subject is Subject.TEAM else 'Key'} {use.subject_name}"
    if percent >= 100:
        return f"{who} has spent a budget: {use.amounts}. It gets 429 until some of it frees up."
    return f"{who} has used {percent} % of a budget: {use.amounts}."
