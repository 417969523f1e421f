"""Spares callers the wait for a store that is away: all but a few are told so at once."""

import time

# After so many failures in a row those who come are told at once, for so long.
FAILURES_MAX = 3
REST_S = 0.5


class Breaker:
    """Counts failures in a row, for each place that fails by itself."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._resting_until: dict[str, float] = {}

    def is_open(self, place: str) -> bool:
        """Return whether `place` failed a moment ago."""
        until = self._resting_until.get(place)
        return until is not None and time.monotonic() < until

    def failed(self, place: str) -> None:
        """Note a failure."""
        failures = self._failures[place] = self._failures.get(place, 0) + 1
        if failures >= FAILURES_MAX:
            self._resting_until[place] = time.monotonic() + REST_S

    def answered(self, place: str) -> None:
        """Note an answer."""
        if place in self._failures:
            del self._failures[place]
            self._resting_until.pop(place, None)
