"""Celery's queue in a Valkey Cluster, by kombu's own transport for one server.

kombu knows one server, or the primary that Sentinel names. All keys of a queue begin with one hash
tag here, so one primary has them all, and this does what kombu does for Sentinel: it asks, before
it connects, where that primary is. After a failover, or when its slot moved, connections break and
are made anew. What was in the queue may be lost with a failover; periodic work is asked for again
within seconds.
"""

from typing import Any

import redis
from django.conf import settings
from kombu.transport import redis as kombu_redis
from redis.exceptions import AskError, ClusterDownError, ConnectionError, ReadOnlyError

from keys import valkey
from keys.core.valkey_address import parse

# Its types are not told.
_kombu: Any = kombu_redis
# Of all keys of the queue.
KEY_PREFIX = "{celery}"


class OwnersConnection(redis.Connection):
    """A connection to the primary that has the queue when it is made."""

    def _connect(self) -> Any:
        self.host, self.port = _owner()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except (AskError, ClusterDownError, ReadOnlyError) as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise ConnectionError(f"the queue is elsewhere: {error}") from error


class OwnersSSLConnection(OwnersConnection, redis.SSLConnection):
    """The same, encrypted."""


class ClusterChannel(_kombu.Channel):  # type: ignore[misc]
    """kombu's channel, on connections that find the queue."""

    connection_class: type[redis.Connection] = OwnersConnection
    connection_class_ssl = OwnersSSLConnection
    global_keyprefix = KEY_PREFIX

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        options = valkey.connection_options(parse(url()))
        if options.pop("ssl", False):
            self.connection_class = OwnersSSLConnection
        found: dict[str, Any] = super()._connparams(asynchronous)
        return found | options


class ClusterTransport(_kombu.Transport):  # type: ignore[misc]
    """kombu's transport for one server, that finds the queue in a cluster."""

    Channel = ClusterChannel


def url() -> str:
    """Return where the queue is."""
    return str(settings.BROKER_URL or settings.VALKEY_URL)


def _owner() -> tuple[str, int]:
    cluster: Any = valkey.client_of(url(), settings.VALKEY_SECONDS_MAX)
    # The cluster client learns from this who has the slot now.
    cluster.exists(KEY_PREFIX)
    node = cluster.get_node_from_key(KEY_PREFIX)
    if node is None:
        raise ConnectionError("no node of the cluster has the queue")
    return node.host, node.port
