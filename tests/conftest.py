"""Real engines for the tests: one Postgres and one Valkey per test process, started when asked for.

With DATABASE_URL and VALKEY_URL set, those servers are used: Postgres with a database of its own
(`test_…`, Django's rule), Valkey with logical database 15, which is flushed before each test.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import django
import psycopg
import pytest
import redis
from hypothesis import settings as hypothesis_settings
from psycopg import sql

# A developer's .env speaks of their gateway, not of the tests.
os.environ["CLAUDCODE_ENV_FILE"] = os.devnull
os.environ.setdefault("CLAUDCODE_SECRET_KEY", "only-for-tests-" + "x" * 50)
os.environ["DJANGO_SETTINGS_MODULE"] = "claudcode.settings"
TEST_DATABASE = 15  # of Valkey: the last, so that it is nobody's by accident

# Processes of pytest-xdist inherit the addresses that the main one chose; they get their own.
EMBEDDED = os.environ.get("CLAUDCODE_TESTS_EMBEDDED") == "1" or not (
    os.environ.get("DATABASE_URL") and os.environ.get("VALKEY_URL")
)
# Directly under /tmp: short enough for sockets, and reachable for the user Postgres runs as.
STATE = Path(tempfile.mkdtemp(prefix="claudcode-tests-", dir="/tmp")) if EMBEDDED else None
if STATE is not None:
    os.environ["CLAUDCODE_TESTS_EMBEDDED"] = "1"
    os.environ["CLAUDCODE_STATE"] = str(STATE)
    os.environ["DATABASE_URL"] = f"postgresql://claudcode@/claudcode?host={STATE}/run"
    os.environ["VALKEY_URL"] = f"unix://{STATE}/run/valkey.sock?db=0"
else:
    url = urlsplit(os.environ["VALKEY_URL"])
    os.environ["VALKEY_URL"] = (
        f"unix://{url.path}?db={TEST_DATABASE}"  # geturl() would lose the slashes.
        if url.scheme == "unix"
        else url._replace(path=f"/{TEST_DATABASE}").geturl()
    )


# Not by an option of pytest-django, which would load the settings before the lines above; and now,
# so that the conftest files below this one can import models.
django.setup()


# A machine that is busy elsewhere makes no test fail.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    # Processes of pytest-xdist must not inherit it: there pytest-django, which comes before this
    # file, would load the settings with the addresses of the main process.
    if config.getoption("numprocesses", None):
        del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure() -> None:
    if STATE is not None:
        shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def engines() -> Iterator[None]:
    """Postgres and Valkey at the addresses of the settings."""
    if STATE is None:
        yield
        return
    from claudcode.engines import pair
    from claudcode.engines.state import StateFolder

    state = StateFolder(STATE)
    with state.lock(), pair.running(state, with_postgres=True, with_valkey=True):
        _outlive_no_power_cut(os.environ["DATABASE_URL"])
        yield


def _outlive_no_power_cut(server_url: str) -> None:
    # Every test that commits empties all tables; waiting for a disk would take most of its time.
    with psycopg.connect(server_url, autocommit=True) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            server.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        server.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(engines: None, django_db_modify_db_settings: None) -> None:
    """Have Postgres before pytest-django makes its database there."""


@pytest.fixture(scope="session")
def pristine(engines: None, django_db_blocker) -> Iterator[str]:
    """A migrated database that nobody uses, to be copied: that takes no time."""
    from tests.acceptance.installation import Installation, new_database

    name = f"claudcode_pristine_{os.getpid()}"
    with new_database(os.environ["DATABASE_URL"], name) as database_url:
        migrated = Installation(database_url, os.environ["VALKEY_URL"])
        with django_db_blocker.unblock(), migrated.connected():
            migrated.migrate()
        yield name


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The address of the test database, for another process; what a test writes is committed."""
    from django.db import connection

    base = os.environ["DATABASE_URL"]
    return urlsplit(base)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


@pytest.fixture
def valkey_url(engines: None) -> str:
    """The address of Valkey."""
    return os.environ["VALKEY_URL"]


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    """A synchronous client of an empty Valkey."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
        yield client
