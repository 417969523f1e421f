"""Whether a key's ledger kept within its limit, and by how much a failover let it go beyond. Pure.

    requests       admitted in any window <= limit
    strict         charged in any window <= limit
    soft           charged in any window <= limit and what was in flight at its last admission
    concurrency    in flight at any instant <= limit

`admitted_at` is the gateway's clock before it asks, so the admission itself is up to SLACK_S later:
exchanges are counted where they were admitted for certain.

A failover forgets what its new primary had not heard, and a holder that was given up for dead may
come back (docs/limits.md). So while one is under way, and until gateways have told again what they
know, a limit may be exceeded by as much as was admitted in that time, and by no more.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# VALKEY_SECONDS_MAX of a fleet's gateways: after it the admission has failed. Generous, for cores
# that are busy with other tests.
SLACK_S = 3.0


class Kind(enum.Enum):
    """What a limit counts."""

    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    SOFT = "soft budget"
    STRICT = "strict budget"


@dataclass(frozen=True, slots=True)
class Limited:
    """A key and its only limit."""

    apikey_id: int
    kind: Kind
    limit: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Use:
    """One ledger row: when it was admitted and settled (seconds), and what it was charged."""

    admitted_at: float
    settled_at: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Blind:
    """A time in which the store may have forgotten something."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The most that was counted, and how far it was beyond what is promised then.

    `excess` is within a blind time, and `allowed` what may be beyond then; `broken` outside.
    """

    most: int
    excess: int
    allowed: int
    broken: int

    @property
    def kept(self) -> bool:
        """Whether the promise was kept, or the weaker one."""
        return not self.broken and self.excess <= self.allowed


def judge(limited: Limited, uses: Sequence[Use], blinds: Iterable[Blind]) -> Verdict:
    """Compare every window of a key with its limit."""
    blinds = list(blinds)
    most = excess = allowed = broken = 0
    for use in uses:
        at = use.admitted_at
        if limited.kind in (Kind.SOFT, Kind.STRICT):
            at = use.settled_at
        counted, bound = _counted(limited, uses, at), limited.limit
        if limited.kind is Kind.SOFT:
            bound += _in_flight_at_last_admission(limited, uses, at)
        most = max(most, counted)
        over = counted - bound
        if over <= 0:
            continue
        forgotten = _forgotten(limited, uses, blinds, at)
        if not forgotten:
            broken = max(broken, over)
        elif over > excess:
            excess, allowed = over, forgotten
    return Verdict(most, excess, allowed, broken)


def _counted(limited: Limited, uses: Sequence[Use], at: float) -> int:
    since = at - limited.window_s
    if limited.kind is Kind.REQUESTS:
        return sum(since + SLACK_S < use.admitted_at <= at for use in uses)
    if limited.kind is Kind.CONCURRENCY:
        return sum(use.admitted_at <= at < use.settled_at - SLACK_S for use in uses)
    return sum(use.tokens for use in uses if since < use.settled_at <= at)


def _in_flight_at_last_admission(limited: Limited, uses: Sequence[Use], at: float) -> int:
    since = at - limited.window_s
    last = max(use.admitted_at for use in uses if since < use.settled_at <= at)
    return sum(use.tokens for use in uses if use.admitted_at - SLACK_S <= last <= use.settled_at)


def _forgotten(limited: Limited, uses: Sequence[Use], blinds: Iterable[Blind], at: float) -> int:
    """Return how much of what was held or used in blind times can be missing from a count."""
    since = at - limited.window_s
    touched = [blind for blind in blinds if blind.began <= at and blind.ended >= since]
    alive = [
        use
        for use in uses
        if any(
            use.admitted_at <= blind.ended and use.settled_at >= blind.began for blind in touched
        )
    ]
    if limited.kind in (Kind.SOFT, Kind.STRICT):
        return sum(use.tokens for use in alive)
    return len(alive)
