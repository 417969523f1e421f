"""The control plane's synchronous client of Valkey. The data plane has its own, on asyncio."""

from functools import lru_cache

from django.conf import settings
from redis import Redis


def client() -> Redis:
    """Return the client of this process; it connects at its first command and reconnects."""
    return _client(settings.VALKEY_URL, settings.VALKEY_SECONDS_MAX)


@lru_cache(maxsize=4)
def _client(url: str, seconds_max: float) -> Redis:
    return Redis.from_url(url, socket_timeout=seconds_max, socket_connect_timeout=seconds_max)
