"""The limiter on a real Valkey against a brute-force oracle, over random traces.

After every step verdicts, what is used, held and in flight, when something frees up, and the
bounds that docs/limits.md promises are compared. `HYPOTHESIS_PROFILE=thorough` runs many more.
"""

import asyncio
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from keys.core.limits import Admitted, Concurrency, Denied, Limit, Unit, Wanted, buckets
from keys.limiter import Limiter, Progress, Settlement, source
from tests.oracle import Expected, Lease, Oracle
from tests.policies import a_policy

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
TTL_MS = 60_000
NOON_MS = 1_772_368_200_000
DAY_S = 86_400
# Fifteen digits: as many as make a mistake of a double or of JSON show, and below 2**53 in sum.
NANOUSD = 3 * 10**12 + 7
COUNTS = Limit("k1.0", Unit.COUNTS, 60, 3)
# Fields of a window beside its buckets: u, h, lo, hi, r, and one bucket that is only half in.
FIELDS_MORE = 6

amounts = st.sampled_from([10, 20, 40, 60, 5, 2, 1, 0])
sizes = st.sampled_from([100, 200, 150, 120, 100, 250, 60, 200, 150, 100, 20, 1, 0])


@st.composite
def some_limits(draw, scope: str) -> list[Limit]:
    """A few limits of one scope; their numbers are as small as the amounts, so that they bite."""
    units = st.sampled_from([Unit.REQUESTS, Unit.TOKENS, Unit.TOKENS, Unit.NANOUSD])
    windows = st.sampled_from([2, 10, 60, 301, 3_600, 18_000, 30 * DAY_S])
    named = st.tuples(units, windows, st.booleans())
    limits = []
    for unit, window_s, anchored in draw(st.lists(named, min_size=1, max_size=3, unique=True)):
        size = draw(sizes) * (NANOUSD if unit is Unit.NANOUSD else 1)
        if unit is Unit.REQUESTS:
            limits.append(Limit(scope, unit, window_s, min(size, 5)))
        else:
            limits.append(Limit(scope, unit, window_s, size, draw(st.booleans()), anchored))
    return list({limit.window_name: limit for limit in limits}.values())


@st.composite
def some_wanted(draw) -> Wanted:
    tokens, dollars = draw(amounts), draw(amounts)
    return Wanted(
        tokens=tokens,
        tokens_strict=tokens + draw(amounts),
        nanousd=dollars * NANOUSD,
        nanousd_strict=(dollars + draw(amounts)) * NANOUSD,
        input_tokens=draw(amounts),
        input_nanousd=draw(amounts) * NANOUSD,
    )


@st.composite
def some_steps(draw) -> int:
    """How far the clock moves: within a bucket, over a boundary, out of windows, for weeks."""
    unit_ms = draw(st.sampled_from([1, 999, 1_000, 60_000, 3_600_000, DAY_S * 1000]))
    return unit_ms * draw(st.integers(1, 40))


class LimiterMachine(RuleBasedStateMachine):
    """Does to the limiter and to the oracle the same."""

    def __init__(self, runner: asyncio.Runner, valkey: Redis) -> None:
        super().__init__()
        self.run, self.valkey = runner.run, valkey
        self.now_ms, self.numbers = NOON_MS, 0
        self.oracle = Oracle(TTL_MS)
        self.limiter = Limiter(
            valkey,
            self._history,
            is_settled=self._is_settled,
            lease_ttl_ms=TTL_MS,
            now_ms=lambda: self.now_ms,
        )
        self.sweeping = valkey.register_script(source("sweep"))
        self.resetting = valkey.register_script(source("reset"))
        self.run(valkey.flushdb())

    async def _history(self, limit, backlog):
        return self.oracle.past(limit, backlog.now_ms)

    async def _is_settled(self, _shard, exchange_id):
        return exchange_id in self.oracle.settled

    @initialize(
        limits=st.tuples(*(some_limits(scope) for scope in ("k1.0", "k2.0", "k3.0", "t1.0"))),
        places=st.tuples(*[st.sampled_from([None, None, 0, 1, 3])] * 4),
        waiting=st.integers(0, 3),
    )
    def begin(self, limits, places, waiting):
        scopes = ("k1.0", "k2.0", "k3.0", "t1.0")
        self.limits = dict(zip(scopes, limits, strict=True))
        self.places = {s: Concurrency(s, n) for s, n in zip(scopes, places, strict=True)}
        everything = [limit for some in limits for limit in some]
        # Limits that an operator adds later: their windows are loaded in the middle of things.
        self.waiting = everything[:waiting]
        self._publish()
        for limit in (*everything[waiting:], COUNTS):
            self.oracle.activate(limit, self.now_ms)

    def _publish(self):
        """Make the policies: two keys of one team, and a key of its own."""
        self.policies = [
            a_policy(
                limits=tuple(
                    limit for s in scopes for limit in self.limits[s] if limit not in self.waiting
                ),
                concurrencies=tuple(self.places[s] for s in scopes),
            )
            for scopes in (("k1.0", "t1.0"), ("k2.0", "t1.0"), ("k3.0",))
        ]

    # --- What clients do ------------------------------------------------------------------------

    @rule(numbers=st.lists(st.integers(0, 2), min_size=2, max_size=8), wanted=some_wanted())
    def admit(self, numbers, wanted):
        for number in numbers:
            self._admit(self.policies[number], wanted)
        self._admit_once_more()

    def _admit_once_more(self):
        for lease in list(self.oracle.leases.values())[-1:]:
            opening = an_opening(lease)
            verdict = self.run(
                self.limiter.admit(lease.policy, lease.exchange_id, lease.wanted, opening)
            )
            assert isinstance(verdict, Admitted)

    def _admit(self, policy, wanted) -> Expected:
        lease = self._lease(policy, wanted)
        opening = lease.exchange_id.encode()
        expected = self.oracle.admit(lease, self.now_ms)
        verdict = self.run(self.limiter.admit(policy, lease.exchange_id, wanted, opening))
        assert seen(verdict) == expected
        return expected

    def _lease(self, policy, wanted) -> Lease:
        self.numbers += 1
        return Lease(f"{self.numbers:032x}", policy, wanted, self.now_ms)

    @rule(number=st.integers(0, 2), wanted=some_wanted())
    def wait_as_told(self, number, wanted):
        expected = self._admit(self.policies[number], wanted)
        if expected.admitted or expected.retry_at_ms is None or self.oracle.leases:
            return
        for early_ms in (1, 0):
            self.now_ms = expected.retry_at_ms - early_ms
            self._peek()
            admitted = self._admit(self.policies[number], wanted).admitted
            assert admitted is (early_ms == 0)

    def _tick(self):
        expected = self.oracle.tick(COUNTS, self.now_ms)
        verdict = self.run(self.limiter.tick(self.policies[0], COUNTS))
        assert seen(verdict) == expected

    # --- What gateways do -----------------------------------------------------------------------

    @precondition(lambda self: self._open())
    @rule(data=st.data(), tokens=amounts, dollars=amounts, again=st.booleans())
    def settle(self, data, tokens, dollars, again):
        lease = data.draw(st.sampled_from(self._open()))
        self._settle(lease, tokens, dollars * NANOUSD, again=again)

    @precondition(lambda self: self.oracle.settled)
    @rule(data=st.data(), tokens=amounts, dollars=amounts)
    def settle_once_more(self, data, tokens, dollars):
        lease = data.draw(st.sampled_from(list(self.oracle.settled.values())))
        self._settle(lease, tokens, dollars * NANOUSD, again=True)

    def _open(self) -> list[Lease]:
        tombs = [tomb.lease for tomb in self.oracle.tombs.values()]
        return [*self.oracle.leases.values(), *self.oracle.unknown.values(), *tombs]

    def _settle(self, lease, tokens, nanousd, *, again):
        settlement = self._settlement(lease, tokens, nanousd)
        self.run(self.limiter.settle(settlement, again=again))
        self.oracle.settle(lease, tokens, nanousd, b"settled", self.now_ms, again=again)

    def _settlement(self, lease, tokens=0, nanousd=0) -> Settlement:
        scopes = lease.policy.scopes
        return Settlement(
            0, lease.exchange_id, scopes, an_opening(lease), tokens, nanousd, b"settled"
        )

    @precondition(lambda self: self._open() or self.oracle.settled)
    @rule(data=st.data())
    def void(self, data):
        choices = [*self._open(), *self.oracle.settled.values()]
        lease = data.draw(st.sampled_from(choices))
        self.run(self.limiter.void(self._settlement(lease)))
        if lease.exchange_id in (*self.oracle.leases, *self.oracle.tombs):
            self.oracle.settle(lease, 0, 0, b"settled", self.now_ms, again=False)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), tokens=amounts, dollars=amounts, come=st.booleans())
    def renew(self, data, tokens, dollars, come):
        some = st.lists(st.sampled_from(self._open()), unique_by=id, min_size=1)
        leases = data.draw(some)
        nanousd, closing = dollars * NANOUSD, b"so far" if come else b""
        progress = [Progress(one.exchange_id, tokens, nanousd, closing) for one in leases]
        missing = self.run(self.limiter.renew(0, progress))
        assert missing == [o.exchange_id for o in leases if o.exchange_id in self.oracle.unknown]
        for lease in leases:
            if lease.exchange_id in self.oracle.leases:
                lease.expires_ms = self.now_ms + TTL_MS
                lease.progress = (tokens, nanousd, closing) if come else lease.progress

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def restore(self, data):
        lease = data.draw(st.sampled_from(self._open()))
        opening = an_opening(lease)
        self.run(self.limiter.restore(lease.policy, lease.exchange_id, lease.wanted, opening))
        self.oracle.restore(lease, self.now_ms)

    # --- What time and operators do ---------------------------------------------------------------

    @rule(step_ms=some_steps())
    def wait(self, step_ms):
        self.now_ms += step_ms

    @precondition(lambda self: self.oracle.leavings(self.now_ms))
    @rule(data=st.data(), early_ms=st.sampled_from([0, 1]))
    def wait_until_something_leaves(self, data, early_ms):
        leavings = self.oracle.leavings(self.now_ms)
        self.now_ms = data.draw(st.sampled_from(leavings)) - early_ms

    @rule(step_ms=some_steps())
    def set_the_clock_back(self, step_ms):
        self.now_ms -= step_ms

    @precondition(lambda self: self.oracle.leases)
    @rule()
    def die(self):
        self.now_ms += TTL_MS
        self._peek()
        self._sweep()

    def _sweep(self):
        abandoned = self.oracle.sweep(self.now_ms)
        counts = self.run(self.sweeping(keys=["{s00}:leases"], args=[self.now_ms, 1000]))
        assert counts[0] == abandoned
        for name, window in self.oracle.windows.items():
            if not self.run(self.valkey.exists(f"{{s00}}:w:{name}")):
                # Idle for long: it comes back from the ledger.
                assert (window.used(self.now_ms), self.oracle.held(name)) == (0, 0)
                self.oracle.rebuild(window, self.now_ms)

    @precondition(lambda self: any(policy.limits for policy in self.policies))
    @rule(data=st.data())
    def reset(self, data):
        limits = [limit for policy in self.policies for limit in policy.limits]
        limit = data.draw(st.sampled_from(limits))
        self.run(self.resetting(keys=["{s00}:leases"], args=[self.now_ms, limit.window_name]))
        self.oracle.reset(limit, self.now_ms)

    @precondition(lambda self: self.waiting)
    @rule()
    def add_a_limit(self):
        limit = self.waiting.pop()
        self.oracle.activate(limit, self.now_ms)
        self._publish()

    @rule(kind=st.sampled_from(["flush", "sweep", "tick"]))
    def anything_else(self, kind):
        {"flush": self._flush, "sweep": self._sweep, "tick": self._tick}[kind]()

    def _flush(self):
        self._compare_events()
        self.run(self.valkey.flushdb())
        self.oracle.flush(self.now_ms)

    # --- What must be true --------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_oracle_says(self):
        self._peek()

    def _peek(self):
        self.oracle.turn(self.now_ms)
        counting = a_policy(limits=(COUNTS,))
        for policy in (*self.policies, counting):
            verdict = self.run(self.limiter.peek(policy))
            assert isinstance(verdict, Admitted)
            stands = [(r.used, r.held, r.frees_at_ms) for r in verdict.readings]
            assert stands == [self._expected(limit) for limit in policy.limits]
            scopes = [concurrency.scope for concurrency in policy.concurrencies]
            assert list(verdict.in_flight) == [self.oracle.in_flight(scope) for scope in scopes]

    def _expected(self, limit):
        window = self.oracle.windows[limit.window_name]
        used, frees_at_ms = window.used(self.now_ms), window.frees_at(self.now_ms)
        return used, self.oracle.held(limit.window_name), frees_at_ms

    @invariant()
    def no_limit_is_exceeded_by_more_than_its_bound(self):
        for window in self.oracle.windows.values():
            assert self.oracle.bounded(window, self.now_ms) <= self.oracle.bound(window)

    @invariant()
    def memory_is_bounded(self):
        windows = list(self.oracle.windows.values())
        fields = self.run(self._fields([window.limit.window_name for window in windows]))
        for window, count in zip(windows, fields, strict=True):
            assert count <= buckets(window.limit) + FIELDS_MORE

    async def _fields(self, names: list[str]) -> list[int]:
        async with self.valkey.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hlen(f"{{s00}}:w:{name}")
            return await pipeline.execute()

    def _compare_events(self):
        found = [fields for _id, fields in self.run(self.valkey.xrange("{s00}:events"))]
        assert [told(fields) for fields in found] == [
            (e.exchange_id, e.at_ms, e.closing, e.scopes, e.anchors) for e in self.oracle.events
        ]

    def teardown(self):
        self._compare_events()
        self._let_everything_go_idle()
        self.run(self.limiter.close())
        left = {name.removeprefix(b"{s00}:") for name in self.run(self.valkey.keys())}
        assert left <= {b"events", b"settled", b"began"}

    def _let_everything_go_idle(self):
        # Leases end, then tombs, then windows; what is used at the end of a lease comes first.
        for _passes in range(3):
            self.now_ms += 4_000 * DAY_S * 1000  # Further than it was ever set back.
            self.run(self.sweeping(keys=["{s00}:leases"], args=[self.now_ms, 1000]))


def an_opening(lease: Lease) -> bytes:
    return b'{"admitted_at_ms":%d}' % lease.admitted_at_ms


def seen(verdict: Admitted | Denied) -> Expected:
    """Return the verdict in the oracle's words."""
    if isinstance(verdict, Admitted):
        return Expected(admitted=True)
    of = verdict.reading.limit.window_name if verdict.reading else verdict.scope
    return Expected(False, verdict.reason, of, verdict.retry_at_ms)


def told(fields):
    starts = frozenset(
        (name, int(start))
        for name, _, start in (p.rpartition("=") for p in fields[b"w"].decode().split(",") if p)
    )
    scopes = fields[b"k"].decode()
    return fields[b"x"].decode(), int(fields[b"t"]), fields[b"c"], scopes, starts


def test_the_limiter_agrees_with_the_oracle(valkey, valkey_url):
    with asyncio.Runner() as runner:
        client = Redis.from_url(valkey_url, single_connection_client=True)
        run_state_machine_as_test(
            lambda: LimiterMachine(runner, client),
            settings=settings(
                max_examples=2_000 if THOROUGH else 60,
                stateful_step_count=50 if THOROUGH else 30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(client.aclose())
