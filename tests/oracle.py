"""A brute-force oracle of the limiter: it keeps every use with its instant and counts them anew.

No buckets that are added up, no counters and no Lua: lists and sums over them, slow and plain.
What it shares with the limiter is the meaning of a `Limit` and nothing else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from keys.core.access import KeyPolicy
from keys.core.limits import Limit, Reason, Unit, Wanted
from keys.limiter import Past

WAIT_MS = 1_000
TOMB_MS = 6 * 3_600_000
# The script abandons no more than this many at one admission.
ABANDONED_AT_ONCE = 16
BY_REQUEST = (Unit.REQUESTS, Unit.COUNTS)


@dataclass
class Use:
    """One charge to one window. `excess` is what nobody had asked the window for beforehand."""

    exchange_id: str
    at_ms: int
    amount: int
    excess: int


@dataclass
class Lease:
    """An exchange in flight; `asked` says that its holds passed an admission."""

    exchange_id: str
    policy: KeyPolicy = field(repr=False)
    wanted: Wanted
    admitted_at_ms: int
    expires_ms: int = 0
    asked: bool = True
    holds: dict[str, int] = field(default_factory=dict)
    progress: tuple[int, int, bytes] | None = None


@dataclass
class Tomb:
    """An abandoned exchange, what it was charged and when."""

    lease: Lease
    at_ms: int
    tokens: int
    nanousd: int


@dataclass(frozen=True)
class Row:
    """A ledger row: the drain's rule decides which event of an exchange becomes it."""

    exchange_id: str
    scopes: str
    admitted_at_ms: int
    at_ms: int
    tokens: int
    nanousd: int
    abandoned: bool
    anchors: frozenset[tuple[str, int]]
    order: int


@dataclass(frozen=True)
class Event:
    """What one settlement appends to the stream."""

    exchange_id: str
    at_ms: int
    closing: bytes
    scopes: str
    anchors: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Expected:
    """A verdict. `of` is the window or the scope that keeps the caller out longest."""

    admitted: bool
    reason: Reason | None = None
    of: str = ""
    retry_at_ms: int | None = None


class Window:
    """Every use of one window that still matters, each with its instant."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.uses: list[Use] = []
        self.start_ms = 0
        self.moved_ms = 0  # Nothing charged up to then is taken back: reset, or the clock set back.
        self.asked_most = 0
        self.emptied = 0  # The order of the last reset among ledger rows.

    def bucket(self, at_ms: int) -> int:
        return at_ms // (self.limit.bucket_s * 1000)

    def oldest(self, now_ms: int) -> int:
        whole = -(-self.limit.window_s // self.limit.bucket_s)
        return self.bucket(now_ms) - whole

    def live(self, now_ms: int) -> list[Use]:
        if self.limit.anchored:
            return [] if self.over(now_ms) else self.uses
        return [use for use in self.uses if self.bucket(use.at_ms) >= self.oldest(now_ms)]

    def over(self, now_ms: int) -> bool:
        return self.start_ms > 0 and now_ms >= self.start_ms + self.limit.window_s * 1000

    def used(self, now_ms: int) -> int:
        return sum(use.amount for use in self.live(now_ms))

    def frees_at(self, now_ms: int) -> int | None:
        if self.limit.anchored:
            running = self.start_ms > 0 and not self.over(now_ms)
            return self.start_ms + self.limit.window_s * 1000 if running else None
        return min((self.leaves_at(use) for use in self.live(now_ms)), default=None)

    def leaves_at(self, use: Use) -> int:
        bucket_ms = self.limit.bucket_s * 1000
        at_ms = self.bucket(use.at_ms + self.limit.window_s * 1000) * bucket_ms - bucket_ms
        while self.bucket(use.at_ms) >= self.oldest(at_ms):
            at_ms += bucket_ms
        return at_ms

    def turn(self, now_ms: int) -> None:
        """Let the clock show `now_ms`: what is ahead of it is used now, what is out is gone."""
        if self.limit.anchored:
            if self.start_ms > now_ms:
                self.moved_ms = max(self.moved_ms, self.start_ms)
                self.start_ms = now_ms
            return
        self.uses = self.live(now_ms)
        ahead = [use for use in self.uses if self.bucket(use.at_ms) > self.bucket(now_ms)]
        if ahead:
            last = max(self.bucket(use.at_ms) for use in ahead)
            until_ms = (last + 1) * self.limit.bucket_s * 1000 - 1
            self.moved_ms = max(self.moved_ms, until_ms)
        for use in ahead:
            use.at_ms = now_ms

    def begin(self, now_ms: int, *, used: int, held: int) -> None:
        """An anchored window ends, and starts with its next use."""
        if self.over(now_ms):
            self.uses, self.start_ms = [], 0
        if self.limit.anchored and self.start_ms == 0 and (used > 0 or held > 0):
            self.start_ms = now_ms

    def take_back(self, exchange_id: str, charged_ms: int, now_ms: int) -> Use | None:
        """Remove what an abandonment was charged, if it is still where it was put."""
        if self.over(now_ms) or charged_ms <= self.moved_ms:
            return None
        found = [use for use in self.uses if use.exchange_id == exchange_id]
        found = [use for use in found if use.at_ms == charged_ms]
        if not found:
            return None
        self.uses = [use for use in self.uses if use is not found[0]]
        return found[0]

    def reset(self, now_ms: int, order: int) -> None:
        self.uses, self.start_ms, self.emptied = [], 0, order
        self.moved_ms = max(self.moved_ms, now_ms)

    def fits(self, used: int, held: int, asked: int) -> bool:
        """The rule of admission, as documented."""
        if self.limit.unit in BY_REQUEST:
            return used + 1 <= self.limit.limit
        if self.limit.strict:
            return used + held + asked <= self.limit.limit
        return used + held < self.limit.limit

    def retry_at(self, now_ms: int, asked: int) -> int | None:
        """Try every instant at which something leaves, were nothing held."""
        if not self.fits(0, 0, asked):
            return None
        if self.fits(self.used(now_ms), 0, asked):
            return now_ms + WAIT_MS
        boundaries = sorted(self.boundaries(now_ms))
        found = next(at for at in boundaries if self.fits(self.used(at), 0, asked))
        assert not self.fits(self.used(found - 1), 0, asked)
        return found

    def boundaries(self, now_ms: int) -> Iterator[int]:
        """Return every instant at which something leaves."""
        if self.limit.anchored:
            if self.start_ms and not self.over(now_ms):
                yield self.start_ms + self.limit.window_s * 1000
            return
        for use in self.live(now_ms):
            yield self.leaves_at(use)


class Oracle:
    """Everything that happened, and what follows from it."""

    def __init__(self, ttl_ms: int) -> None:
        self.ttl_ms = ttl_ms
        self.windows: dict[str, Window] = {}
        self.leases: dict[str, Lease] = {}
        self.tombs: dict[str, Tomb] = {}
        self.unknown: dict[str, Lease] = {}  # In flight, and forgotten by the store.
        self.settled: dict[str, Lease] = {}
        self.settled_here: set[str] = set()  # Since the store last lost everything.
        self.rows: dict[str, Row] = {}
        self.events: list[Event] = []
        self._order = 0

    # --- What stands --------------------------------------------------------------------------

    def held(self, name: str) -> int:
        return sum(lease.holds.get(name, 0) for lease in self.leases.values())

    def in_flight(self, scope: str) -> int:
        return sum(scope in lease.policy.scopes.split() for lease in self.leases.values())

    def turn(self, now_ms: int) -> None:
        for window in self.windows.values():
            window.turn(now_ms)

    def leavings(self, now_ms: int) -> list[int]:
        """Return every instant at which a use leaves its window."""
        windows = self.windows.values()
        return sorted({at_ms for window in windows for at_ms in window.boundaries(now_ms)})

    def bound(self, window: Window) -> int:
        """The most that used + held may be, by what the documentation promises."""
        limit = window.limit
        if limit.strict or limit.unit in BY_REQUEST:
            return limit.limit
        return max(0, limit.limit - 1 + window.asked_most)

    def bounded(self, window: Window, now_ms: int) -> int:
        """Used + held, less what nobody had asked the window for."""
        name = window.limit.window_name
        asked = sum(lease.holds.get(name, 0) for lease in self.leases.values() if lease.asked)
        return asked + sum(use.amount - use.excess for use in window.live(now_ms))

    # --- Admission ----------------------------------------------------------------------------

    def admit(self, lease: Lease, now_ms: int) -> Expected:
        self.abandon_expired(now_ms, ABANDONED_AT_ONCE)
        windows = [self.windows[limit.window_name] for limit in lease.policy.limits]
        denials = list(self._denials(lease, windows, now_ms))
        if denials:
            return max(denials, key=lambda denial: _wait(denial.retry_at_ms))
        for window in windows:
            asked = _asked(window.limit, lease.wanted)
            window.asked_most = max(window.asked_most, asked)
            if window.limit.unit in BY_REQUEST:
                window.begin(now_ms, used=1, held=0)
                window.uses.append(Use(lease.exchange_id, now_ms, 1, 0))
        self._lease(lease, now_ms)
        return Expected(admitted=True)

    def restore(self, lease: Lease, now_ms: int) -> None:
        self.abandon_expired(now_ms, ABANDONED_AT_ONCE)
        if self.unknown.pop(lease.exchange_id, None):
            lease.asked = False
            names = [limit.window_name for limit in lease.policy.limits]
            self._count_again(lease, [self.windows[name] for name in names], now_ms)
            self._lease(lease, now_ms)

    def tick(self, limit: Limit, now_ms: int) -> Expected:
        self.abandon_expired(now_ms, ABANDONED_AT_ONCE)
        window = self.windows[limit.window_name]
        if not window.fits(window.used(now_ms), 0, 1):
            retry_at_ms = window.retry_at(now_ms, 1)
            return Expected(False, Reason.COUNTS, limit.window_name, retry_at_ms)
        window.uses.append(Use("-", now_ms, 1, 0))
        return Expected(admitted=True)

    def _denials(self, lease: Lease, windows: list[Window], now_ms: int) -> Iterator[Expected]:
        for window in windows:
            name = window.limit.window_name
            asked = _asked(window.limit, lease.wanted)
            if not window.fits(window.used(now_ms), self.held(name), asked):
                reason = _REASONS[window.limit.unit]
                yield Expected(False, reason, name, window.retry_at(now_ms, asked))
        for concurrency in lease.policy.concurrencies:
            limit = concurrency.limit
            if limit is not None and self.in_flight(concurrency.scope) + 1 > limit:
                retry_at_ms = now_ms + WAIT_MS if limit else None
                yield Expected(False, Reason.CONCURRENCY, concurrency.scope, retry_at_ms)

    def _lease(self, lease: Lease, now_ms: int) -> None:
        for limit in lease.policy.limits:
            if limit.unit not in BY_REQUEST:
                asked = _asked(limit, lease.wanted)
                self.windows[limit.window_name].begin(now_ms, used=0, held=asked)
                lease.holds[limit.window_name] = asked
        lease.expires_ms = now_ms + self.ttl_ms
        self.leases[lease.exchange_id] = lease

    # --- Settlement ---------------------------------------------------------------------------

    def settle(
        self, lease: Lease, tokens: int, nanousd: int, closing: bytes, now_ms: int, *, again: bool
    ) -> None:
        known = lease.exchange_id in self.leases or lease.exchange_id in self.tombs
        charged = not known and lease.exchange_id in self.settled
        if charged and again and lease.exchange_id not in self.settled_here:
            return  # The ledger has it.
        anchors: frozenset[tuple[str, int]] = frozenset()
        if not charged:
            anchors = self._charge(lease, tokens, nanousd, now_ms)
        if not known and not charged:
            self._count_again(lease, self.windows.values(), now_ms)
        self.settled_here.add(lease.exchange_id)
        self.leases.pop(lease.exchange_id, None)
        self.tombs.pop(lease.exchange_id, None)
        self.unknown.pop(lease.exchange_id, None)
        self.settled[lease.exchange_id] = lease
        self._record(lease, tokens, nanousd, closing, now_ms, anchors, abandoned=False)

    def _count_again(self, lease: Lease, windows: Iterable[Window], now_ms: int) -> None:
        """Count a request that the store forgot; nobody asks the window for it."""
        for window in windows:
            mine = window.limit.scope in lease.policy.scopes.split()
            reach_ms = (
                (window.bucket(now_ms) - window.oldest(now_ms)) * window.limit.bucket_s * 1000
            )
            recent = now_ms - lease.admitted_at_ms < reach_ms
            if mine and recent and window.limit.unit is Unit.REQUESTS:
                window.uses.append(Use(lease.exchange_id, now_ms, 1, excess=1))

    def abandon_expired(self, now_ms: int, most: int) -> int:
        expired = [lease for lease in self.leases.values() if lease.expires_ms <= now_ms]
        expired.sort(key=lambda lease: (lease.expires_ms, lease.exchange_id))
        for lease in expired[:most]:
            self._abandon(lease, now_ms)
        return len(expired[:most])

    def _abandon(self, lease: Lease, now_ms: int) -> None:
        tokens, nanousd, closing = lease.wanted.input_tokens, lease.wanted.input_nanousd, b""
        if lease.progress is not None and lease.progress[0] >= tokens:
            tokens, nanousd, closing = lease.progress
        anchors = self._charge(lease, tokens, nanousd, now_ms)
        del self.leases[lease.exchange_id]
        self.tombs[lease.exchange_id] = Tomb(lease, now_ms, tokens, nanousd)
        self._record(lease, tokens, nanousd, closing, now_ms, anchors, abandoned=True)

    def _charge(
        self, lease: Lease, tokens: int, nanousd: int, now_ms: int
    ) -> frozenset[tuple[str, int]]:
        anchors = set()
        tomb = self.tombs.get(lease.exchange_id)
        leased = lease.exchange_id in self.leases
        for name, window in self._budgets(lease.policy.scopes):
            amount = tokens if window.limit.unit is Unit.TOKENS else nanousd
            covered = lease.holds.get(name, 0) if leased and lease.asked else 0
            if tomb and (use := window.take_back(lease.exchange_id, tomb.at_ms, now_ms)):
                covered = use.amount - use.excess
            window.begin(now_ms, used=amount, held=0)
            if amount:
                excess = max(0, amount - covered)
                window.uses.append(Use(lease.exchange_id, now_ms, amount, excess))
            if window.start_ms:
                anchors.add((name, window.start_ms))
        if leased:
            lease.holds = {}
        return frozenset(anchors)

    def _budgets(self, scopes: str) -> Iterator[tuple[str, Window]]:
        for name, window in self.windows.items():
            if window.limit.scope in scopes.split() and window.limit.unit not in BY_REQUEST:
                yield name, window

    def _record(
        self,
        lease: Lease,
        tokens: int,
        nanousd: int,
        closing: bytes,
        now_ms: int,
        anchors: frozenset[tuple[str, int]],
        *,
        abandoned: bool,
    ) -> None:
        self._order += 1
        scopes, exchange_id = lease.policy.scopes, lease.exchange_id
        self.events.append(Event(exchange_id, now_ms, closing, scopes, anchors))
        stored = self.rows.get(exchange_id)
        if stored is None or (stored.abandoned and not abandoned):
            self.rows[exchange_id] = Row(
                exchange_id,
                scopes,
                lease.admitted_at_ms,
                now_ms,
                tokens,
                nanousd,
                abandoned,
                anchors,
                self._order,
            )

    # --- Housekeeping and accidents -----------------------------------------------------------

    def sweep(self, now_ms: int) -> int:
        abandoned = self.abandon_expired(now_ms, len(self.leases))
        for exchange_id, tomb in list(self.tombs.items()):
            if now_ms >= tomb.at_ms + TOMB_MS:
                self.unknown[exchange_id] = self.tombs.pop(exchange_id).lease
        return abandoned

    def reset(self, limit: Limit, now_ms: int) -> None:
        self.windows[limit.window_name].reset(now_ms, self._order)

    def flush(self, now_ms: int) -> None:
        """The store loses everything; windows come back from the ledger's rows."""
        for lease in [*self.leases.values(), *(tomb.lease for tomb in self.tombs.values())]:
            lease.holds, lease.progress = {}, None
            self.unknown[lease.exchange_id] = lease
        self.leases, self.tombs, self.events = {}, {}, []
        self.settled_here = set()
        for window in self.windows.values():
            self.rebuild(window, now_ms)

    def activate(self, limit: Limit, now_ms: int) -> None:
        """A limit is new: its window comes from the ledger too."""
        self.windows[limit.window_name] = Window(limit)
        self.rebuild(self.windows[limit.window_name], now_ms)

    def rebuild(self, window: Window, now_ms: int) -> None:
        known = {use.exchange_id: use.amount - use.excess for use in window.live(now_ms)}
        window.start_ms, rows = self._past(window, now_ms)
        window.uses = [
            Use(id, at_ms, amount, max(0, amount - known.get(id, 0)))
            for id, at_ms, amount in rows
            if amount
        ]
        # An anchored window that has not begun knows nothing of what was charged before.
        window.moved_ms = now_ms if window.limit.anchored and not window.start_ms else 0
        window.turn(now_ms)

    def past(self, limit: Limit, now_ms: int) -> Past:
        """Answer what the ledger would, to a cold start."""
        window = self.windows.get(limit.window_name) or Window(limit)
        start_ms, rows = self._past(window, now_ms)
        return Past([(window.bucket(at_ms), amount) for _id, at_ms, amount in rows], start_ms)

    def _past(self, window: Window, now_ms: int) -> tuple[int, list[tuple[str, int, int]]]:
        limit = window.limit
        rows = [row for row in self.rows.values() if limit.scope in row.scopes.split()]
        rows = [row for row in rows if row.order > window.emptied and limit.unit is not Unit.COUNTS]
        if not limit.anchored:
            found = [(row.exchange_id, *_amount(limit.unit, row)) for row in rows]
            oldest = window.oldest(now_ms)
            return 0, [one for one in found if window.bucket(one[1]) >= oldest]
        starts = [dict(row.anchors).get(limit.window_name, 0) for row in _by_order(rows)]
        start_ms = next((start for start in reversed(starts) if start), 0)
        if now_ms >= start_ms + limit.window_s * 1000:
            return 0, []
        rows = [row for row in rows if row.at_ms >= start_ms]
        return start_ms, [(row.exchange_id, *_amount(limit.unit, row)) for row in rows]


_REASONS = {
    Unit.REQUESTS: Reason.REQUESTS,
    Unit.TOKENS: Reason.TOKENS,
    Unit.NANOUSD: Reason.NANOUSD,
}


def _wait(retry_at_ms: int | None) -> float:
    return float("inf") if retry_at_ms is None else retry_at_ms


def _asked(limit: Limit, wanted: Wanted) -> int:
    if limit.unit is Unit.TOKENS:
        return wanted.tokens_strict if limit.strict else wanted.tokens
    if limit.unit is Unit.NANOUSD:
        return wanted.nanousd_strict if limit.strict else wanted.nanousd
    return 1


def _amount(unit: Unit, row: Row) -> tuple[int, int]:
    if unit is Unit.REQUESTS:
        return row.admitted_at_ms, 1
    return row.at_ms, row.tokens if unit is Unit.TOKENS else row.nanousd


def _by_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.order)
