"""Gives Django's cache the client of Valkey that this process has, whatever its form."""

from typing import Any

from redis import Redis

from keys import valkey


class ConnectionFactory:
    """What django-redis asks for a client: of a cluster, or of what Sentinel names."""

    def __init__(self, options: dict[str, Any]) -> None:
        del options  # All there is to know is in the address.

    def connect(self, _location: str) -> Redis:
        """Return the client. Raises `RedisError` when no node of a cluster answers."""
        return valkey.client()

    def disconnect(self, connection: Redis) -> None:
        """Leave the client to whoever else uses it."""
