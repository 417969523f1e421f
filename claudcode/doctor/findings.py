"""What a look found, and how looks are made: each in bounded time, none of them ends the others."""

import enum
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.db import DatabaseError, connections
from redis import RedisError

# Longer than a store's own time-outs and than a free call upstream.
LOOK_SECONDS_MAX = 12.0
LATE = "It is slower than anything that works. See whether the other end hangs."


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do, empty if nothing."""

    level: Level
    name: str
    seen: str
    advice: str = ""


Look = Callable[[], Iterable[Finding]]


def ok(name: str, seen: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.OK, name, seen)


def warning(name: str, seen: str, advice: str) -> Finding:
    """Return what works and should not stay so."""
    return Finding(Level.WARNING, name, seen, advice)


def error(name: str, seen: str, advice: str) -> Finding:
    """Return what does not work, or endangers money or secrets."""
    return Finding(Level.ERROR, name, seen, advice)


def look_all(looks: dict[str, Look], seconds_max: float = LOOK_SECONDS_MAX) -> Iterator[Finding]:
    """Make all looks at once and return what they found, in their order."""
    found: dict[str, list[Finding]] = {}

    def make(name: str, look: Look) -> None:
        try:
            found[name] = list(look())
        except (DatabaseError, RedisError, OSError) as fault:
            said = str(fault).strip().splitlines() or [type(fault).__name__]
            found[name] = [error(name, f"It could not be looked at: {said[0]}", _ADVICE)]
        finally:
            connections.close_all()

    threads = {
        # Whoever hangs shall not keep the command from its end.
        name: threading.Thread(target=make, args=(name, look), daemon=True)
        for name, look in looks.items()
    }
    for thread in threads.values():
        thread.start()
    until = threading.Event()
    waiter = threading.Timer(seconds_max, until.set)
    waiter.daemon = True
    waiter.start()
    while not until.is_set() and any(thread.is_alive() for thread in threads.values()):
        until.wait(0.02)
    waiter.cancel()
    for name in looks:
        late = [error(name, f"No answer within {seconds_max:g} s.", LATE)]
        yield from found.get(name, late)


_ADVICE = "See whether address, user, password and network of DATABASE_URL or VALKEY_URL are right."
