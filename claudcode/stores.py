"""Store addresses: one URL of Postgres or Valkey in, what Django, its cache and Celery want out.

Pure; opens no connection.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

# A lost Postgres must show as an error while the client still waits, not as a hang.
CONNECT_SECONDS_MAX = 5
POOL_WAIT_SECONDS_MAX = 2.0
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
    return {
        "ENGINE": "django.db.backends.postgresql",
        **named,
        # After a restart of Postgres the pool would hand out dead connections without it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": CONNECT_SECONDS_MAX,
            **options,
            "pool": {
                "min_size": 0,
                "max_size": connections_max,
                "timeout": POOL_WAIT_SECONDS_MAX,
                "reconnect_timeout": RECONNECT_SECONDS_MAX,
            },
        },
    }


def cache(url: str) -> dict[str, Any]:
    """Return Django's `CACHES` entry for a Valkey URL; without one, a cache that keeps nothing."""
    if not url:
        return {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": "django",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2},
    }


def broker_url(url: str) -> str:
    """Return the URL in the form Celery wants: it has its own words for Unix sockets."""
    if not url:
        return "memory://"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        db = parse_qs(parts.query).get("db", ["0"])[0]
        return f"redis+socket://{parts.path}?virtual_host={db}"
    return url
