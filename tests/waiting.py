"""Waiting for a condition instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(probe: Callable[[], T], seconds: float = 5.0, *, every_s: float = 0.02) -> T:
    """Return the first true answer of `probe`; fail when none came within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(every_s)
    return answer


def sleep_until(at_s: float) -> None:
    """Return when the wall clock shows `at_s`, the way a limit's window is waited out."""
    while (left_s := at_s - time.time()) > 0:
        time.sleep(left_s)
