"""How fast this machine is just now: processor time of a fixed piece of Python.

Two runs on a shared machine can differ by a factor of two; their yardsticks say by which.
"""

import time

ROUNDS = 5
STEPS = 300_000


def yardstick_ms() -> float:
    """Return the least processor time, of a few tries, for the fixed piece of work."""
    return min(_try_ms() for _ in range(ROUNDS))


def _try_ms() -> float:
    began = time.process_time()
    table: dict[int, str] = {}
    for step in range(STEPS):
        table[step & 1023] = str(step)
    return 1000 * (time.process_time() - began)
