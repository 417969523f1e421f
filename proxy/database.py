"""The one bridge from the data plane's event loop to Postgres: a few threads, and a bound.

Used only for what the gateway has not seen before: a key, a price list, a window's past.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connections

P = ParamSpec("P")
T = TypeVar("T")

# A look-up takes about a millisecond, so four threads outrun any wave of new keys that
# LOOKUPS_PER_S_MAX lets through, and never crowd the pool that the admin uses too.
THREADS = 4
# Longer than the connection's own time-out, so that the clearer error comes first.
SECONDS_MAX = 5.0


class DatabaseUnavailable(Exception):
    """Postgres did not answer, or not in time."""


class Database:
    """Runs synchronous queries off the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")

    async def call(self, query: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `query(*args, **kwargs)`. Raises `DatabaseUnavailable`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return await loop.run_in_executor(self._threads, _run, query, args, kwargs)
        except (DatabaseError, TimeoutError, OSError) as error:
            raise DatabaseUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _run(query, args, kwargs):  # type: ignore[no-untyped-def]
    try:
        return query(*args, **kwargs)
    finally:
        # Back to the pool: a thread here may not be needed again for hours.
        connections.close_all()
