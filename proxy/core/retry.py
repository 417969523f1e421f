"""Whether and when an exchange is sent to another account. Pure.

Everything here happens before the first byte of an answer; after it nothing is sent twice.
"""

from collections import deque
from dataclasses import dataclass

from proxy.core.upstream_error import Fault

# What may be sent to the same account once more when there is no other: nothing was sent, or
# upstream did nothing with it.
_REPEATABLE = (Fault.UNREACHED, Fault.OVERLOADED)
WAIT_FIRST_S = 0.05
WAIT_MOST_S = 1.0
# The same account needs a moment longer than another one.
WAIT_SAME_S = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is tried: sendings of one exchange, and seconds after which none begins."""

    attempts_max: int
    seconds_max: float


def repeatable(fault: Fault) -> bool:
    """Return whether the same account may be asked once more."""
    return fault in _REPEATABLE


def wait_s(attempts: int, same: bool, chance: float) -> float:
    """Return the pause after so many `attempts`; `chance`, from 0 to 1, spreads it."""
    longest = WAIT_SAME_S if same else WAIT_FIRST_S * 2 ** (attempts - 1)
    # Never less than half of it: clients that failed together must not come back together.
    return min(WAIT_MOST_S, longest) * (0.5 + chance / 2)


class RetryBudget:
    """Bounds what retries add to the load of one process.

    Over the last `WINDOW_S` seconds they are at most a fifth of the exchanges, but `FEW` always:
    where so little goes on, doubling it harms nobody, and a lone process needs them to get past
    accounts that fail all at once.
    """

    WINDOW_S = 10
    PART = 5
    FEW = 100

    def __init__(self) -> None:
        # For each second: exchanges, retries.
        self._seconds: deque[tuple[int, list[int]]] = deque()
        self._exchanges = self._retries = 0

    def note(self, now: float) -> None:
        """Count an exchange."""
        self._second(now)[0] += 1
        self._exchanges += 1

    def take(self, now: float) -> bool:
        """Return whether one more retry may be made, and count it if so."""
        second = self._second(now)
        if self._retries >= max(self.FEW, self._exchanges // self.PART):
            return False
        second[1] += 1
        self._retries += 1
        return True

    def _second(self, now: float) -> list[int]:
        second = int(now)
        while self._seconds and self._seconds[0][0] <= second - self.WINDOW_S:
            _then, (exchanges, retries) = self._seconds.popleft()
            self._exchanges -= exchanges
            self._retries -= retries
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, [0, 0]))
        return self._seconds[-1][1]
