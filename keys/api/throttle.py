"""How many requests a token may make in a minute: a counter in Django's cache, which is Valkey.

The counter may be evicted, and then its minute starts again; without Valkey nothing is counted.
Both are better than operators who cannot reach their keys.
"""

import logging
import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

WINDOW_S = 60

logger = logging.getLogger(__name__)


class PerToken(BaseThrottle):
    """At most `MANAGEMENT_RPM` requests of a token in each minute of the clock."""

    def allow_request(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        if request.auth is None:
            return True  # It is refused already, or what it asks for is open to all.
        minute, self._second = divmod(int(time.time()), WINDOW_S)
        name = f"management:{request.auth.pk}:{minute}"
        try:
            return _count(name) <= settings.MANAGEMENT_RPM
        except (RedisError, OSError):
            logger.warning("the management API is not throttled: Valkey does not answer")
            return True

    def wait(self) -> float:
        return float(WINDOW_S - self._second)


def _count(name: str) -> int:
    cache.add(name, 0, timeout=2 * WINDOW_S)
    try:
        return int(cache.incr(name))
    except ValueError:
        return 1  # Evicted since the line before.
