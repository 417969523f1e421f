"""Store addresses: one URL of Postgres or Valkey in, what Django, its cache and Celery want out.

Pure; opens no connection.
"""

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from keys.core.valkey_address import BadValkeyAddress, Form, ValkeyAddress, parse

# A lost Postgres must show as an error while the client still waits, not as a hang.
CONNECT_SECONDS_MAX = 5
POOL_WAIT_SECONDS_MAX = 2.0
# Of several hosts one may be cut off: the next has its turn while the caller still waits. Two is
# the least that libpq keeps to.
CONNECT_TO_EACH_SECONDS_MAX = 2
POOL_WAIT_FOR_SEVERAL_SECONDS_MAX = 4.5
# A host that is cut off says nothing: what was sent to it and is not confirmed for so long, or a
# silence that probes do not end, is the end of the connection. (The kernel's own are hours.)
CUT_OFF_SECONDS_MAX = 10
_LIVENESS = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": CUT_OFF_SECONDS_MAX * 1000,
}
# The pool doubles the pause between its attempts to connect until it gives up; only then does the
# next caller try at once. Without a bound the ledger would lag behind a Postgres that is back for
# as long as it was away.
RECONNECT_SECONDS_MAX = 1.0

_DJANGO_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD"}
_DJANGO_NAMES |= {"host": "HOST", "port": "PORT"}


def is_postgres(url: str) -> bool:
    """Return whether `url` is one that Postgres' own library understands."""
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        return False
    return url.startswith(("postgres://", "postgresql://"))


def each_host(url: str) -> list[str]:
    """Return the connection strings of the hosts that a Postgres URL names, one by one."""
    params: dict[str, Any] = conninfo_to_dict(url)
    hosts, ports = (str(params.get(name) or "").split(",") for name in ("host", "port"))
    if len(hosts) == 1 or "hostaddr" in params:
        return [url]
    ports = ports * len(hosts) if len(ports) == 1 else ports
    pairs = zip(hosts, ports, strict=True)
    return [make_conninfo(**params | {"host": host, "port": port or None}) for host, port in pairs]


def database(url: str, connections_max: int) -> dict[str, Any]:
    """Return Django's `DATABASES` entry for a Postgres URL.

    Without a URL, or with a wrong one (check E003 tells), it is a database that refuses every
    query, so that commands that need none still run.
    """
    if not is_postgres(url):
        return {"ENGINE": "django.db.backends.dummy"}
    params = conninfo_to_dict(url)
    named = {_DJANGO_NAMES[k]: str(v) for k, v in params.items() if k in _DJANGO_NAMES}
    options = {k: v for k, v in params.items() if k not in _DJANGO_NAMES}
    several = "," in named.get("HOST", "")
    return {
        "ENGINE": "claudcode.postgres",
        **named,
        # After a restart of Postgres the pool would hand out dead connections without it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": CONNECT_TO_EACH_SECONDS_MAX if several else CONNECT_SECONDS_MAX,
            **_LIVENESS,
            **options,
            # A pooler may give each transaction another session, which knows nothing of them.
            "prepare_threshold": None,
            "pool": {
                "min_size": 0,
                "max_size": connections_max,
                "timeout": (
                    POOL_WAIT_FOR_SEVERAL_SECONDS_MAX if several else POOL_WAIT_SECONDS_MAX
                ),
                "reconnect_timeout": RECONNECT_SECONDS_MAX,
            },
        },
    }


def replica(url: str, connections_max: int) -> dict[str, Any]:
    """Return Django's `DATABASES` entry for a replica, which is only read."""
    entry = database(url, connections_max)
    if "OPTIONS" in entry:
        # The primary is there to be asked instead.
        entry["OPTIONS"]["connect_timeout"] = CONNECT_TO_EACH_SECONDS_MAX
        entry["OPTIONS"]["pool"]["timeout"] = POOL_WAIT_SECONDS_MAX
    # Tests have one database, under both names.
    return entry | {"TEST": {"MIRROR": "default"}}


def cache(url: str) -> dict[str, Any]:
    """Return Django's `CACHES` entry for a Valkey URL; without one, a cache that keeps nothing."""
    address = _valkey(url)
    if address is None:
        return {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    found: dict[str, Any] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": [url],  # Of a text each comma would begin another server.
        "KEY_PREFIX": "django",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2},
    }
    if address.form is not Form.SINGLE:
        # django-redis would take the commas between nodes for several servers.
        found["LOCATION"] = "VALKEY_URL"
        found["OPTIONS"] = {"CONNECTION_FACTORY": "claudcode.cache.ConnectionFactory"}
        # One slot of a cluster, for Django asks for several keys at once.
        found["KEY_PREFIX"] = "{django}"
    return found


def broker(url: str) -> dict[str, Any]:
    """Return Celery's settings of its broker: a URL that Celery knows, or one of Valkey.

    Celery has its own words for Unix sockets, and kombu for Sentinel.
    """
    if not url:
        return {"CELERY_BROKER_URL": "memory://"}
    address = _valkey(url)
    if address is None:
        return {"CELERY_BROKER_URL": url}
    parts = urlsplit(address.url)
    if address.form is Form.CLUSTER:
        # `claudcode.broker` reads the nodes and the secrets from the settings itself.
        host, port = address.nodes[0]
        return {"CELERY_BROKER_URL": f"valkey-cluster://{host}:{port}//"}
    if address.form is Form.SENTINEL:
        return _sentinel_broker(address)
    if parts.scheme == "unix":
        db = parse_qs(parts.query).get("db", ["0"])[0]
        where = f"{parts.netloc}{parts.path}?virtual_host={db}"
        return {"CELERY_BROKER_URL": f"redis+socket://{where}"}
    return {"CELERY_BROKER_URL": url}


def _sentinel_broker(address: ValkeyAddress) -> dict[str, Any]:
    parts = urlsplit(address.url)
    user, at, _host = parts.netloc.rpartition("@")
    sentinels = (f"sentinel://{user}{at}{host}:{port}{parts.path}" for host, port in address.nodes)
    to_sentinels = {
        "username": address.sentinel_username,
        "password": address.sentinel_password,
        "ssl": address.encrypted,
    }
    found: dict[str, Any] = {
        "CELERY_BROKER_URL": ";".join(sentinels),
        "CELERY_BROKER_TRANSPORT_OPTIONS": {
            "master_name": address.service,
            "sentinel_kwargs": {name: value for name, value in to_sentinels.items() if value},
        },
    }
    if address.encrypted:
        options = dict(parse_qsl(parts.query))
        found["CELERY_BROKER_USE_SSL"] = {"ssl_cert_reqs": "required", **options}
    return found


def _valkey(url: str) -> ValkeyAddress | None:
    try:
        return parse(url)
    except BadValkeyAddress:  # Check E004 tells, if it should have been one.
        return None
