"""The pool of upstream accounts: one exchange in, one answer out, whichever account gives it.

`proxy.core.selection` chooses, `proxy.core.retry` bounds what is tried again, `proxy.rest` knows
who rests, `proxy.own_limits` who is full, `proxy.upstream` sends. This module brings them together;
it knows nothing of keys or budgets.

Before the first byte of an answer an exchange may be sent to another account; after it, never. What
is the request's own fault goes back as it is, at once. An account that refuses its credential is
doubted first and asked by a free call: only if that is refused too is it suspended. Otherwise one
odd request could take the whole pool out of use.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from proxy.core.account import Account
from proxy.core.errors import GatewayError, UpstreamFailed
from proxy.core.headers import DEFAULT_VERSION, Headers, upstream_headers
from proxy.core.retry import Bounds, RetryBudget, repeatable, wait_s
from proxy.core.selection import Standing, choose
from proxy.core.upstream_error import (
    RETRY_AFTER_S,
    Fault,
    failed,
    judge,
    overloaded,
    retry_after_s,
)
from proxy.held import Held
from proxy.own_limits import Full, Lease, OwnLimits
from proxy.rest import Resting, SharedRests, resting, wake
from proxy.trace import Trace
from proxy.upstream import Answer, Upstream, UpstreamClient, UpstreamUnreachable
from usage.core.event import Attempt

__all__ = ["Ask", "Held", "Resting", "Trail", "Upstreams", "resting", "wake"]

logger = logging.getLogger(__name__)

# An error body is a few hundred bytes. One that is longer is cut off with its connection.
ERROR_BYTES_MAX = 64 * 1024
# Until every gateway has heard that an account was suspended.
SUSPENDED_S = 60.0
MESSAGES_PATH = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be sent: the client's headers and body, what the choice hangs on, and who asks."""

    path: str
    query: bytes
    headers: Headers
    body: bytes
    model: str
    affinity: bytes
    request_id: str = ""
    trace: Trace | None = None

    @property
    def lane(self) -> str:
        """What an account may rest for: the model, or a path that has rate limits of its own."""
        return self.model if self.path == MESSAGES_PATH else self.path.rpartition("/")[2]


@dataclass(slots=True)
class Trail:
    """What has become of an ask so far, whether it ends well, badly or by cancellation.

    `account` and `http_status` are those of the last attempt; status 0: there was no answer.
    """

    attempts: list[Attempt] = field(default_factory=list)
    account: str = ""
    http_status: int = 0
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    account: Account
    fault: Fault
    status: int = 0


class Upstreams:
    """Sends exchanges to accounts.

    `accounts` gives those that may be used now. `suspend` puts one out of use for good; it is told
    why. `chance` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        *,
        client: UpstreamClient,
        rests: SharedRests,
        limits: OwnLimits,
        accounts: Callable[[], Awaitable[Sequence[Account]]],
        suspend: Callable[[Account, str], Awaitable[None]],
        bounds: Bounds,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._rests = rests
        self._limits = limits
        self._accounts = accounts
        self._suspend = suspend
        self._bounds = bounds
        self._chance = chance
        self._budget = RetryBudget()
        self._doubts: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to share rests and to renew places."""
        self._rests.start()
        self._limits.start()

    async def stop(self) -> None:
        """End what goes on in the background."""
        for task in self._doubts.values():
            task.cancel()
        await self._rests.stop()
        await self._limits.stop()

    async def ask(self, ask: Ask, trail: Trail) -> "Answer | Held":
        """Return the answer of the first account that has one, be it a 200 or the request's fault.

        Whoever gets it calls `finish()` on it. Raises `UpstreamFailed` or `Overloaded` when no
        account has one, in bounded time. `trail` is kept up as it goes.
        """
        began = time.monotonic()
        self._budget.note(began)
        search = _Search(ask, await self._accounts(), self._rests)
        while True:
            found = await self._take(search)
            if found is None:
                raise search.refusal()
            result = await self._send(ask, *found, trail)
            if not isinstance(result, _Failure):
                return result
            search.fail(result)
            await self._pause(search, began)

    async def _take(self, search: "_Search") -> "tuple[Account, Lease | None] | None":
        while (account := search.best()) is not None:
            try:
                return account, await self._limits.take(account)
            except Full as full:
                search.full[account.id] = full.wait_s
        return None

    async def _pause(self, search: "_Search", began: float) -> None:
        """Wait a little before the next attempt. Raises if there shall be none."""
        same = search.repeat()
        now = time.monotonic()
        attempts = len(search.failures)
        over = attempts >= self._bounds.attempts_max or now - began >= self._bounds.seconds_max
        if over or search.best() is None or not self._budget.take(now):
            raise search.refusal()
        await asyncio.sleep(wait_s(attempts, same, self._chance()))

    async def _send(
        self, ask: Ask, account: Account, lease: Lease | None, trail: Trail
    ) -> "Answer | Held | _Failure":
        sent_at = time.monotonic()
        trail.account, trail.http_status, trail.request_id = account.name, 0, ""
        self._rests.sent(account, ask.lane)
        outcome = "cancelled"
        try:
            answer, fault, outcome = await self._try(ask, account, lease, trail)
        finally:
            took_ms = round((time.monotonic() - sent_at) * 1000)
            trail.attempts.append(Attempt(account.name, outcome, took_ms))
        if answer is not None and fault in (None, Fault.REQUEST):
            if fault is None:
                self._rests.answered(account, ask.lane, sent_at=sent_at)
            return answer
        assert fault is not None
        if ask.trace is not None:
            ask.trace.failed(outcome, trail.http_status)
        self._note(ask, account, fault, answer, sent_at)
        if answer is not None:
            answer.finish()
        return _Failure(account, fault, trail.http_status)

    async def _try(
        self, ask: Ask, account: Account, lease: Lease | None, trail: Trail
    ) -> "tuple[Answer | Held | None, Fault | None, str]":
        """Return the answer, whose fault it is if it is none to want, and the attempt's outcome.

        The place at the account is the answer's from then on; without an answer it is given back.
        """
        held: Held | None = None
        try:
            answer = await self._open(ask, account)
            trail.http_status = answer.status
            trail.request_id = answer.header(b"request-id")[:128].decode("latin-1")
            if answer.status == 200:
                return (answer if lease is None else Held(answer, lease)), None, "answered"
            held = Held(answer, lease)
            fault = judge(held.status, await held.peek(ERROR_BYTES_MAX))
            return held, fault, "answered" if fault is Fault.REQUEST else str(held.status)
        except UpstreamUnreachable as error:
            outcome = _outcome(error)
            logger.warning(
                "upstream account %s: %s: %s",
                account.name,
                outcome,
                error,
                extra={"request_id": ask.request_id},
            )
            # Its frames keep the body of the request.
            error.__traceback__ = None
            _give_back(held, lease)
            return None, Fault.UNREACHED if outcome == "connect" else Fault.BROKEN, outcome
        except BaseException:
            _give_back(held, lease)
            raise

    async def _open(self, ask: Ask, account: Account) -> Answer:
        upstream = Upstream(account.name, account.base_url, account.headers)
        added = list(account.headers)
        if ask.trace is not None:
            added += ask.trace.sends(account.name, ask.model, ask.path)
        headers = upstream_headers(ask.headers, added)
        return await self._client.send(upstream, "POST", ask.path, ask.query, headers, ask.body)

    def _note(
        self,
        ask: Ask,
        account: Account,
        fault: Fault,
        held: "Answer | Held | None",
        sent_at: float,
    ) -> None:
        wanted = held.header(b"retry-after").decode("latin-1") if held is not None else ""
        self._rests.failed(
            account,
            ask.lane,
            fault,
            sent_at=sent_at,
            retry_after_s=retry_after_s(wanted, time.time()),
            status=held.status if held is not None else 0,
        )
        if fault is Fault.SPENT:
            logger.error("upstream account %s is out of money", account.name)
        if fault is Fault.REFUSED and account.id not in self._doubts:
            task = asyncio.create_task(self._examine(account))
            self._doubts[account.id] = task
            task.add_done_callback(lambda _task: self._doubts.pop(account.id, None))

    async def _examine(self, account: Account) -> None:
        """Ask an account that refused us for its models, which costs nothing; suspend it or not."""
        try:
            status = await self._models_status(account)
        except UpstreamUnreachable as error:
            logger.warning("upstream account %s refused us: %s", account.name, error)
            return
        if judge(status, b"") is not Fault.REFUSED:
            logger.warning("upstream account %s refused a request, not us", account.name)
            self._rests.end(account)
            return
        reason = f"upstream refuses its credential (HTTP {status})"
        logger.error("upstream account %s is suspended: %s", account.name, reason)
        self._rests.refused(account, reason, SUSPENDED_S)
        try:
            await self._suspend(account, reason)
        except Exception:
            # It rests all the same, and the next one who is refused leads here again.
            logger.exception("upstream account %s could not be suspended", account.name)

    async def _models_status(self, account: Account) -> int:
        upstream = Upstream(account.name, account.base_url, account.headers)
        headers = upstream_headers([(b"anthropic-version", DEFAULT_VERSION)], list(account.headers))
        answer = await self._client.send(upstream, "GET", "/v1/models", b"limit=1", headers, b"")
        answer.finish()
        return answer.status


class _Search:
    """The search for an account that answers one ask."""

    def __init__(self, ask: Ask, accounts: Iterable[Account], rests: SharedRests) -> None:
        self._ask = ask
        self._all = tuple(accounts)
        self._rests = rests
        self._tried: set[int] = set()
        self._repeated = False
        self.failures: list[_Failure] = []
        # Ids of accounts at a limit of their own, and after how many seconds to ask again.
        self.full: dict[int, float] = {}

    def best(self) -> Account | None:
        ask = self._ask
        passed_over = self._tried | self.full.keys() if self._tried or self.full else ()
        return choose(self._all, ask.model, ask.affinity, self._standing, passed_over)

    def fail(self, failure: _Failure) -> None:
        self.failures.append(failure)
        self._tried.add(failure.account.id)

    def repeat(self) -> bool:
        """Allow the one account there is to be tried once more, if that can help."""
        same = (
            not self._repeated and repeatable(self.failures[-1].fault) and len(self._serving()) == 1
        )
        if same:
            self._repeated = True
            self._tried.clear()
        return same

    def refusal(self) -> GatewayError:
        """Return what the client is told when no account has answered."""
        serving = self._serving()
        if not serving:
            return UpstreamFailed(
                f"No upstream account serves the model {self._ask.model}. Tell the gateway's"
                " operator."
                if self._all
                else "The gateway has no upstream account to use. Tell its operator."
            )
        last = self.failures[-1] if self.failures else None
        faults = {failure.fault for failure in self.failures}
        if not self.full and last is not None and Fault.OVERLOADED not in faults:
            return failed(last.fault, last.status)
        if last is None and all(self._rests.fault(a) is Fault.REFUSED for a in serving):
            return failed(Fault.REFUSED, 0)
        closed = [a for a in serving if a.id in self.full or self._standing(a) is Standing.CLOSED]
        if len(closed) < len(serving):
            return overloaded(RETRY_AFTER_S)
        lane = self._ask.lane
        waits = [self.full.get(a.id) or self._rests.left_s(a, lane) for a in closed]
        return overloaded(max(1, math.ceil(min(waits))))

    def _serving(self) -> list[Account]:
        return [account for account in self._all if account.serves(self._ask.model)]

    def _standing(self, account: Account) -> Standing:
        return self._rests.standing(account, self._ask.lane)


def _outcome(error: UpstreamUnreachable) -> str:
    if not error.sent:
        return "connect"
    return "timeout" if error.timed_out else "broken"


def _give_back(held: Held | None, lease: Lease | None) -> None:
    if held is not None:
        held.finish()
    elif lease is not None:
        lease.release()
