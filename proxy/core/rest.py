"""Which accounts rest, for what and until when. Pure: time comes in with every call.

Rules.

* What rests is an account for one model (overload and rate limits are by model upstream), or for
  all of them (no connection, a refused credential, no money): `ALL`.
* When upstream itself names a time to come back, or an account's credential is refused for good,
  the rest is *strict*: nothing is sent. Every other rest is a guess of ours: it lets other accounts
  go first, and when there is none the account is used all the same. So no single odd request
  can close the gateway for everybody.
* An overload without a named time rests at once, a failure from the third in a row; each further
  one doubles the rest, up to a minute. What was sent before the rest began says nothing new.
* After a rest one exchange goes first, as a probe; until it is answered, or for `PROBE_S`, others
  are passed over the account. An answer ends every guessed rest at once.

An account goes by its `identity` here: with a new address or credential it has a new one, and what
the old one did is forgotten.

Times are seconds of a clock that only goes forward; they mean nothing in another process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxy.core.account import Account
from proxy.core.selection import Standing
from proxy.core.upstream_error import Fault

# In place of a model: the whole account.
ALL = ""
FIRST_S = 1.0
MOST_S = 60.0
# A connection breaks now and then for no reason that lasts.
FAILURES_MIN = 3
# An account without money is topped up by hand.
SPENT_S = 600.0
# How long a refused credential is doubted, until a free call has confirmed or cleared it.
DOUBTED_S = 30.0
# How long a probe is waited for: an answer that is no stream may take minutes to begin.
PROBE_S = 5.0

# How long after its end a rest still matters, by the probe and by the failures it counts.
REMEMBERED_S = 600.0

_REASONS = {
    Fault.REFUSED: "it refused our credential",
    Fault.SPENT: "it is out of money",
    Fault.OVERLOADED: "overloaded or rate limited",
    Fault.FAILED: "it failed",
    Fault.UNREACHED: "it could not be reached",
    Fault.BROKEN: "it broke off before it answered",
}
# What says something of the whole account, whatever the model.
_OF_ALL = (Fault.REFUSED, Fault.SPENT, Fault.UNREACHED, Fault.BROKEN)


@dataclass(frozen=True, slots=True)
class Rest:
    """A rest of one account, from `since` to `until`; `failures` in a row led to it.

    `fault` is the last of them, `reason` says it to an operator.
    """

    account: str
    model: str
    since: float
    until: float
    strict: bool
    failures: int
    fault: Fault
    reason: str


@dataclass(slots=True)
class _State:
    failures: int = 0
    rest: Rest | None = None
    probed_at: float | None = None


def identity(account: Account) -> str:
    """Return the name that an account rests under."""
    return f"{account.id}.{account.fingerprint[:8]}"


class Rests:
    """The rests of all accounts as one process knows them."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], _State] = {}

    def standing(self, account: str, model: str, now: float) -> Standing:
        """Return how the account stands for `model`."""
        found = Standing.READY
        for name in (ALL, model):
            state = self._states.get((account, name))
            if state is not None and state.rest is not None:
                found = max(found, _standing(state, state.rest, now))
        return found

    def left_s(self, account: str, model: str, now: float) -> float:
        """Return the seconds until the last rest of the account for `model` ends, at least 0."""
        states = (self._states.get((account, name)) for name in (ALL, model))
        return max((s.rest.until - now for s in states if s and s.rest), default=0.0)

    def fault(self, account: str, now: float) -> Fault | None:
        """Return the fault for which the whole account rests, `None` if it does not."""
        state = self._states.get((account, ALL))
        rest = state.rest if state is not None else None
        return rest.fault if rest is not None and now < rest.until else None

    def sent(self, account: str, model: str, now: float) -> None:
        """Note that an exchange goes there: after a rest it is the probe."""
        for name in (ALL, model):
            state = self._states.get((account, name))
            if state is not None and state.rest is not None and now >= state.rest.until:
                state.probed_at = now

    def answered(self, account: str, model: str, *, sent_at: float) -> list[Rest]:
        """Note an answer to what was sent at `sent_at`; return the rests that it ended."""
        ended = []
        for name in (ALL, model):
            state = self._states.get((account, name))
            if state is None:
                continue
            rest = state.rest
            if rest is not None and (
                sent_at < rest.since or (rest.strict and sent_at < rest.until)
            ):
                continue
            del self._states[(account, name)]
            if rest is not None:
                ended.append(rest)
        return ended

    def failed(
        self,
        account: str,
        model: str,
        fault: Fault,
        *,
        sent_at: float,
        now: float,
        retry_after_s: float | None = None,
        status: int = 0,
    ) -> Rest | None:
        """Note a failure of what was sent at `sent_at`; return the rest that begins with it."""
        name = ALL if fault in _OF_ALL else model
        state = self._states.setdefault((account, name), _State())
        strict = retry_after_s is not None and fault is Fault.OVERLOADED
        if state.rest is not None and sent_at < state.rest.since:
            # It was under way when the rest began. Only a longer wait that upstream names is news.
            if not strict or now + (retry_after_s or 0) <= state.rest.until:
                return None
        else:
            state.failures += 1
        seconds = retry_after_s if strict else _seconds(fault, state.failures)
        if not seconds:
            return None
        reason = _REASONS[fault] + (f" (HTTP {status})" if status else "")
        return self._begin(
            Rest(account, name, now, now + seconds, strict, state.failures, fault, reason)
        )

    def refused(self, account: str, reason: str, now: float, seconds: float) -> Rest:
        """Let the whole account rest strictly: its credential is known to be of no use."""
        rest = Rest(account, ALL, now, now + seconds, True, 1, Fault.REFUSED, reason)
        return self._begin(rest)

    def end(self, account: str, model: str) -> Rest | None:
        """End a rest; return it if there was one."""
        state = self._states.pop((account, model), None)
        return state.rest if state is not None else None

    def learn(self, rest: Rest) -> None:
        """Take over a rest that another process began."""
        state = self._states.setdefault((rest.account, rest.model), _State())
        if state.rest is not None and state.rest.until >= rest.until:
            return
        state.failures = max(state.failures, rest.failures)
        state.rest, state.probed_at = rest, None

    def forget(self, now: float) -> None:
        """Forget what has been over for long."""
        for key, state in list(self._states.items()):
            if state.rest is not None and state.rest.until < now - REMEMBERED_S:
                del self._states[key]

    def resting(self, now: float) -> Iterable[Rest]:
        """Return the rests that last."""
        states = list(self._states.values())
        return [s.rest for s in states if s.rest is not None and s.rest.until > now]

    def _begin(self, rest: Rest) -> Rest:
        state = self._states.setdefault((rest.account, rest.model), _State())
        if state.rest is not None and state.rest.strict and state.rest.until > rest.until:
            rest = replace(rest, until=state.rest.until, strict=True)
        state.rest, state.probed_at = rest, None
        return rest


def _standing(state: _State, rest: Rest, now: float) -> Standing:
    if now < rest.until:
        return Standing.CLOSED if rest.strict else Standing.RESTING
    if state.probed_at is not None and now - state.probed_at < PROBE_S:
        return Standing.RESTING
    return Standing.READY


def _seconds(fault: Fault, failures: int) -> float:
    if fault is Fault.SPENT:
        return SPENT_S
    if fault is Fault.REFUSED:
        return DOUBTED_S
    doublings = failures - (1 if fault is Fault.OVERLOADED else FAILURES_MIN)
    # Beyond a few doublings the minute is reached; 2**failures would grow without end.
    return min(MOST_S, FIRST_S * 2 ** min(doublings, 10)) if doublings >= 0 else 0.0
