"""The asynchronous side of limits: one script call to admit, one to settle.

Knows Valkey and the names of its keys; decides nothing itself (keys/core/limits.py and keys/lua/
do). A window that Valkey does not know is loaded from the ledger first, through `History`, so
that losing Valkey loses no budget state that had been drained.
"""

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import orjson
from redis.exceptions import RedisError

from keys.breaker import Breaker
from keys.core.access import KeyPolicy
from keys.core.limits import Admitted, Denied, Limit, Wanted, encode_question, shape
from keys.core.reply import read_verdict
from keys.link import LinkDown, Replication, ReplyLost
from keys.links import link_to
from keys.valkey import AsyncValkey, async_now_ms

LUA = Path(__file__).parent / "lua"
# What frees, or keeps what was taken, passes even when Valkey's memory is full: who is in flight
# then must not lose a lease, and nobody's place may stay taken.
FREEING = frozenset({"settle", "renew", "sweep", "reset"})
# A load is repeated when an exchange of the scope is settled while the ledger is read, which takes
# some milliseconds, or a sixth of a second for a month of a busy team.
LOAD_TRIES_MAX = 10
# One page of events is 1.5 MB at the most and a millisecond of Valkey's time.
EVENTS_PAGE = 1000
# Cold starts at a time, so that they wait for each other and not for a connection.
BACKLOGS_MAX = 32
NOTHING = Wanted(0, 0, 0, 0, 0, 0)


class LimiterUnavailable(Exception):
    """The store that limits depend on did not answer in time."""


class AdmissionUnknown(LimiterUnavailable):
    """The store may or may not have admitted the exchange: it must be voided."""


class History(Protocol):
    """Where the cold start of a window comes from. Raises `LimiterUnavailable`."""

    async def __call__(self, limit: Limit, backlog: "Backlog") -> "Past": ...


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events of one key or team that the ledger may or may not have yet, oldest first.

    `now_ms` is an instant after the last of them. `emptied` says that nothing was ever drained as
    far as the store knows: it is new, or it lost everything, perhaps under a drain's hands.
    """

    shard: int
    emptied: bool
    now_ms: int
    events: Sequence[dict[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Past:
    """What a window has seen: amounts by bucket, and the start of an anchored one (0 for none)."""

    buckets: Sequence[tuple[int, int]]
    anchor_ms: int = 0


@dataclass(frozen=True, slots=True)
class Abandonment:
    """What an exchange was charged when its holder seemed dead, and when."""

    tokens: int
    nanousd: int
    at_ms: int


# Returns the abandonment that the ledger has of an exchange of a shard, `None` if it has none.
# Raises `LimiterUnavailable`.
# Returns whether the ledger has an exchange of a shard as settled. Raises `LimiterUnavailable`.
IsSettled = Callable[[int, str], Awaitable[bool]]
FindAbandonment = Callable[[int, str], Awaitable[Abandonment | None]]


async def _none_known(_shard: int, _exchange_id: str) -> None:
    return None


async def _not_settled(_shard: int, _exchange_id: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an exchange is charged. `closing` is the JSON of `usage.core.event.Closing`."""

    shard: int
    exchange_id: str
    scopes: str
    opening: bytes
    tokens: int
    nanousd: int
    closing: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exchange in flight has come; an empty `closing` means not at all."""

    exchange_id: str
    tokens: int
    nanousd: int
    closing: bytes


class Standing(enum.Enum):
    """How far an event has come on its way to the ledger."""

    DRAINED = 1
    WAITING = 0
    GONE = -1  # From the stream: trimmed when it had been drained, or lost.


def source(name: str) -> str:
    """Return the Lua source of one script, with what all of them begin with."""
    first = "#!lua flags=allow-oom\n" if name in FREEING else ""
    return first + (LUA / "window.lua").read_text() + (LUA / f"{name}.lua").read_text()


@lru_cache(maxsize=1000)
def shard_tag(shard: int) -> str:
    """Return the hash tag that all keys of a shard begin with."""
    return f"{{s{shard:02d}}}"


class Limiter:
    """Admits and settles exchanges against the limits of their policies.

    `abandonment` is asked only about exchanges that the store has forgotten. `seconds_max` bounds
    every wait for the store; `link` is the way to it, for what shall travel with a call. With
    `replication` admissions and settlements wait for replicas. `now_ms` is a clock for tests;
    without one the scripts take that of their node.
    """

    def __init__(
        self,
        valkey: AsyncValkey,
        history: History,
        *,
        lease_ttl_ms: int,
        abandonment: FindAbandonment = _none_known,
        is_settled: IsSettled = _not_settled,
        seconds_max: float = 1.0,
        replication: Replication | None = None,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._valkey = valkey
        self._history = history
        self._abandonment = abandonment
        self._is_settled = is_settled
        self._lease_ttl_ms = lease_ttl_ms
        self._now_ms = now_ms
        self._breaker = Breaker()
        self._backlogs = asyncio.Semaphore(BACKLOGS_MAX)
        sources = {name: source(name) for name in ("admit", "settle", "renew", "load", "standing")}
        self.link = link_to(valkey, sources, seconds_max=seconds_max, replication=replication)

    async def admit(
        self, policy: KeyPolicy, exchange_id: str, wanted: Wanted, opening: bytes
    ) -> Admitted | Denied:
        """Ask for a place for the exchange, under every limit of the policy at once.

        Raises `LimiterUnavailable`, or `AdmissionUnknown` when the question was sent and the
        answer lost.
        """
        return await self._decide(
            "admit", policy, policy.limits, policy.question, exchange_id, wanted, opening
        )

    async def restore(
        self, policy: KeyPolicy, exchange_id: str, wanted: Wanted, opening: bytes
    ) -> None:
        """Take the lease of an exchange in flight again, after the store lost it.

        Harmless if it did not. What the exchange holds is held again wherever the ledger can be
        read; the lease is taken even if it cannot, so that a crash is still recorded. One that was
        abandoned is recorded already, and stays so until it is settled.
        """
        if await self._abandoned(policy.shard, exchange_id) is not None:
            return
        with contextlib.suppress(LimiterUnavailable):
            await self.peek(policy)  # Loads the windows.
        await self._decide(
            "force", policy, policy.limits, policy.question, exchange_id, wanted, opening
        )

    async def tick(self, policy: KeyPolicy, limit: Limit) -> Admitted | Denied:
        """Count one call under one limit that needs neither lease nor ledger."""
        question = encode_question((limit,), ())
        return await self._decide("tick", policy, (limit,), question, "-", NOTHING, b"")

    async def peek(self, policy: KeyPolicy) -> Admitted:
        """Read every limit of the policy; moves nothing."""
        verdict = await self._decide(
            "peek", policy, policy.limits, policy.question, "-", NOTHING, b""
        )
        assert isinstance(verdict, Admitted)
        return verdict

    async def settle(self, settlement: Settlement, *, again: bool) -> bytes:
        """Charge the exchange, free its lease, append its ledger event and return the event's id,
        which is empty if the ledger turns out to have it.

        `again` says that an earlier try may have gone through unseen. Raises `LimiterUnavailable`;
        the caller tries again until it passes.
        """
        event_id = await self._settle(settlement, "again" if again else "settle")
        if event_id:
            return event_id
        if again and await self._is_settled(settlement.shard, settlement.exchange_id):
            return b""  # And so the windows count it, which were loaded from there.
        return await self.settle_lost(settlement)

    async def settle_lost(self, settlement: Settlement) -> bytes:
        """Charge and record an exchange that the store has forgotten; return the event's id."""
        before = await self._abandoned(settlement.shard, settlement.exchange_id)
        return await self._settle(settlement, "lost", before)

    async def void(self, settlement: Settlement) -> None:
        """Free an exchange that may or may not have been admitted; harmless if it was not."""
        await self._settle(settlement, "void")

    async def renew(self, shard: int, progress: Sequence[Progress]) -> list[str]:
        """Renew leases of one shard, noting progress; returns the ids the store has lost."""
        arguments: list[Any] = [self._now_ms(), self._lease_ttl_ms]
        for step in progress:
            arguments += (step.exchange_id, step.tokens, step.nanousd, step.closing)
        missing = await self._run("renew", shard, arguments)
        return [exchange_id.decode() for exchange_id in missing]

    async def standings(self, shard: int, event_ids: Sequence[bytes]) -> list[Standing]:
        """Return how far each event of one shard has come."""
        answers = await self._run("standing", shard, [self._now_ms(), *event_ids])
        return [Standing(answer) for answer in answers]

    async def close(self) -> None:
        """Close the connection to the store."""
        await self.link.close()

    async def __aenter__(self) -> "Limiter":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _abandoned(self, shard: int, exchange_id: str) -> Abandonment | None:
        try:
            return await self._abandonment(shard, exchange_id)
        except LimiterUnavailable:
            # Then a window may count too much until it has passed; the exchange must not wait.
            return None

    async def _settle(
        self, settlement: Settlement, mode: str, before: Abandonment | None = None
    ) -> bytes:
        whole = mode in ("lost", "again")
        _code, _now, event_id = await self._run(
            "settle",
            settlement.shard,
            [
                self._now_ms(),
                settlement.exchange_id,
                mode,
                settlement.tokens,
                settlement.nanousd,
                settlement.closing,
                settlement.scopes if whole else "",
                settlement.opening if whole else b"",
                *((before.tokens, before.nanousd, before.at_ms) if before else ()),
            ],
            replicated=True,
        )
        return bytes(event_id)  # Empty when the exchange is not known.

    async def _decide(
        self,
        mode: str,
        policy: KeyPolicy,
        limits: tuple[Limit, ...],
        question: bytes,
        exchange_id: str,
        wanted: Wanted,
        opening: bytes,
    ) -> Admitted | Denied:
        if self._breaker.is_open(self.link.place(f"{shard_tag(policy.shard)}:leases")):
            raise LimiterUnavailable("the store did not answer a moment ago")
        for _try in range(LOAD_TRIES_MAX):
            reply = await self._run(
                "admit",
                policy.shard,
                [
                    self._now_ms(),
                    mode,
                    question,
                    exchange_id,
                    self._lease_ttl_ms,
                    wanted.tokens,
                    wanted.tokens_strict,
                    wanted.nanousd,
                    wanted.nanousd_strict,
                    wanted.input_tokens,
                    wanted.input_nanousd,
                    opening,
                ],
                lost=AdmissionUnknown if mode == "admit" else LimiterUnavailable,
                replicated=mode in ("admit", "force"),
            )
            if reply[0] != -1:
                return read_verdict(reply, limits, policy.concurrencies, wanted)
            for position in reply[4]:
                await self._load(policy.shard, limits[position - 1])
        raise LimiterUnavailable("windows vanish as fast as they are loaded")

    async def _load(self, shard: int, limit: Limit) -> None:
        for _try in range(LOAD_TRIES_MAX):
            async with self._backlogs:
                seen, backlog = await self._backlog(shard, limit.scope)
            past = await self._history(limit, backlog)
            pairs = [number for pair in past.buckets for number in pair]
            arguments = [
                self._now_ms(),
                limit.scope,
                orjson.dumps(shape(limit)),
                seen,
                past.anchor_ms,
            ]
            if await self._run("load", shard, arguments + pairs) != -1:
                return
        raise LimiterUnavailable(f"{limit.window_name} is settled faster than it is loaded")

    async def _backlog(self, shard: int, scope: str) -> tuple[bytes, Backlog]:
        tag = shard_tag(shard)
        holder = scope.partition(".")[0].encode() + b"."  # Of any generation, as in the ledger.
        events: list[dict[bytes, bytes]] = []
        try:
            # Before the events: the drain moves forward, and events stay EVENTS_KEEP_S after it.
            drained = await self._valkey.get(f"{tag}:drained")
            last = drained or b"0-0"
            while page := await self._valkey.xrange(
                f"{tag}:events", min=b"(" + last, count=EVENTS_PAGE
            ):
                last = page[-1][0]
                events += (event for _id, event in page if _names(event.get(b"k", b""), holder))
            now_ms = self._now_ms() or await async_now_ms(self._valkey, f"{tag}:drained")
        except (RedisError, OSError, TimeoutError) as error:
            raise LimiterUnavailable(str(error)) from error
        return last, Backlog(shard, drained is None, now_ms, events)

    async def _run(
        self,
        name: str,
        shard: int,
        arguments: list[Any],
        lost: type[LimiterUnavailable] = LimiterUnavailable,
        *,
        replicated: bool = False,
    ) -> Any:
        key = f"{shard_tag(shard)}:leases"
        try:
            reply = await self.link.call(name, key, arguments, replicated=replicated)
        except (LinkDown, ReplyLost, RedisError) as error:
            self._breaker.failed(self.link.place(key))
            kind = LimiterUnavailable if isinstance(error, LinkDown) else lost
            raise kind(f"{name}: {error}") from error
        self._breaker.answered(self.link.place(key))
        return reply


def _names(scopes: bytes, holder: bytes) -> bool:
    return any(scope.startswith(holder) for scope in scopes.split())
