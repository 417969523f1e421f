"""A value that is looked up at most once in a few seconds, however many ask. Knows no value."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Calls `look` when what it last returned is older than `age_s_max`; one at a time."""

    def __init__(self, look: Callable[[], Value], age_s_max: float) -> None:
        self._look = look
        self._age_s_max = age_s_max
        self._lock = threading.Lock()
        self._seen: tuple[float, Value] | None = None

    def __call__(self) -> Value:
        """Return the value."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > self._age_s_max:
                value = self._look()
                # By when the look ended: one that waited for a store counts from then.
                self._seen = time.monotonic(), value
            return self._seen[1]

    def forget(self) -> None:
        """Look anew at the next call."""
        with self._lock:
            self._seen = None
