"""Where dashboards read: a replica of Postgres if one is near enough, else the primary.

`read(ask)` runs `ask` with the tables of usage on the replica; `cursor()` and the ORM follow, by
`Router`, within it and nowhere else. Whatever decides about money, permissions or the ledger does
not come here. A replica that fails in the middle is given up for a while, and `ask` runs again on
the primary: it must only read.

How old a replica's figures are is measured, not believed. Each look notes how far the primary's
log is, and then how far the replica has replayed: whatever was noted at or before that is seen
there. So a replica that was cut off ages, though it has replayed all it ever received. The time of
the last transaction that it replayed bounds the age too, for processes that have not looked for
long. One that was promoted is no replica of this primary any more.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from psycopg.errors import QueryCanceled

P = ParamSpec("P")
T = TypeVar("T")

REPLICA = "replica"
LOOK_EVERY_S = 1.0
# One that does not answer is not asked again for so long: a page in ten seconds waits for it.
AWAY_S = 10.0
# The least that libpq keeps to. A new connection, for one that is frozen answers no old one.
CONNECT_SECONDS_MAX = 2
# As many seconds as anybody lets a replica lag.
NOTES_MAX = 3_600
# Pages say how old their figures are beyond this, as they do of the drain.
TOLD_S = 5.0

_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
_REPLAYED = """
SELECT pg_is_in_recovery(), pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float
"""

logger = logging.getLogger(__name__)
_reads_from: ContextVar[str] = ContextVar("usage_reads_from", default=DEFAULT_DB_ALIAS)


class Standing:
    """What this process knows of the replica. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: deque[tuple[float, int]] = deque(maxlen=NOTES_MAX)
        self._fresh_at: float | None = None
        self._look_at = float("-inf")

    def age_s(self) -> float | None:
        """Return how old the replica's figures are at most, `None` if it cannot be read."""
        now = time.monotonic()
        with self._lock:
            due = now >= self._look_at
            if due:
                self._look_at = now + LOOK_EVERY_S
        if due:
            self._look(now)
        fresh_at = self._fresh_at
        return None if fresh_at is None else max(0.0, time.monotonic() - fresh_at)

    def give_up(self) -> None:
        """Ask it nothing for a while."""
        self._fresh_at = None
        self._look_at = time.monotonic() + AWAY_S

    def _look(self, now: float) -> None:
        try:
            noted = _position()
            with psycopg.connect(settings.REPLICA_URL, **_CONNECT) as replica:
                found = replica.execute(_REPLAYED).fetchone()
        except (psycopg.Error, OperationalError, InterfaceError) as error:
            logger.warning("the replica of Postgres is not read: %s", type(error).__name__)
            self.give_up()
            return
        recovering, replayed, since_s = found or (False, 0, None)
        if not recovering:
            logger.warning("the replica of Postgres is not read: it is no replica any more")
            self.give_up()
            return
        self._fresh_at = self._seen_at(now, noted, replayed, since_s)

    def _seen_at(
        self, now: float, noted: int, replayed: int, since_s: float | None
    ) -> float | None:
        with self._lock:
            self._notes.append((now, noted))
            seen = [at for at, position in self._notes if position <= replayed]
            while self._notes and self._notes[0][0] < max(seen, default=0.0):
                self._notes.popleft()
        if since_s is not None:
            seen.append(now - max(0.0, since_s))
        return max(seen, default=None)


_CONNECT: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS_MAX, "autocommit": True}
_CONNECT |= {"prepare_threshold": None}
_standing = Standing()


class Router:
    """Django's reads of usage's tables follow `read`; writes and migrations know the primary."""

    def db_for_read(self, model: Any, **_hints: Any) -> str | None:
        """Return where a model of usage is read just now."""
        return _reads_from.get() if model._meta.app_label == "usage" else None

    def db_for_write(self, _model: Any, **_hints: Any) -> str:
        """Return the primary, for rows that came from the replica too."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, _one: Any, _other: Any, **_hints: Any) -> bool:
        """Return that rows of one may point at rows of the other: they are the same."""
        return True

    def allow_migrate(self, db: str, _app_label: str, **_hints: Any) -> bool | None:
        """Return that a replica gets its tables by itself."""
        return False if db == REPLICA else None


def configured() -> bool:
    """Return whether there is one by the settings."""
    return REPLICA in connections.databases


def age_s() -> float | None:
    """Return how old the replica's figures are at most, `None` if it cannot be read."""
    return _standing.age_s() if configured() else None


def shown_age_s() -> float:
    """Return how old the figures of the page are for sure to be told, 0 for those of the moment."""
    found = age_s() if _reads_from.get() == REPLICA else None
    return found if found is not None and found > TOLD_S else 0.0


def alias() -> str:
    """Return the name of the database that is read just now, as Django knows it."""
    return _reads_from.get()


def cursor() -> Any:
    """Return a cursor where is read just now."""
    return connections[_reads_from.get()].cursor()


def read(ask: Callable[[], T]) -> T:
    """Return `ask()`, asked of the replica if there is one of use, else of the primary."""
    if not configured() or _reads_from.get() == REPLICA or not _near_enough():
        return ask()
    token = _reads_from.set(REPLICA)
    try:
        return ask()
    except (OperationalError, InterfaceError) as error:
        # What takes too long there would take as long elsewhere.
        if isinstance(error.__cause__, QueryCanceled):
            raise
        logger.warning("the replica of Postgres failed: %s", type(error).__name__)
        _standing.give_up()
    finally:
        _reads_from.reset(token)
    return ask()


def from_replica(view: Callable[P, T]) -> Callable[P, T]:
    """Let a view that only reads have its figures from the replica."""

    @wraps(view)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        return read(lambda: view(*args, **kwargs))

    return reading


def _near_enough() -> bool:
    found = _standing.age_s()
    return found is not None and found <= settings.REPLICA_LAG_S_MAX


def _position() -> int:
    with connection.cursor() as primary:
        primary.execute(_POSITION)
        return int(primary.fetchone()[0])
