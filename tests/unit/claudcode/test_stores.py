"""One URL for each store, in the forms that Django and Celery want."""

import pytest

from claudcode import stores


def test_a_postgres_url_becomes_djangos_parts():
    entry = stores.database("postgresql://me:p%40ss@db:5433/ledger?sslmode=require", 10)
    named = {key: entry[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    assert named == {
        "NAME": "ledger",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db",
        "PORT": "5433",
    }
    assert entry["OPTIONS"]["sslmode"] == "require"


def test_a_socket_folder_is_a_host():
    assert stores.database("postgresql://me@/ledger?host=/run/pg", 10)["HOST"] == "/run/pg"


@pytest.mark.parametrize("url", ["", "mysql://db/ledger", "host=db dbname=ledger", "nonsense"])
def test_without_a_postgres_url_every_query_is_refused(url):
    assert stores.database(url, 10) == {"ENGINE": "django.db.backends.dummy"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/v.sock?db=3", "redis+socket:///run/v.sock?virtual_host=3"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0"),
        ("redis://valkey:6379/2", "redis://valkey:6379/2"),
        ("", "memory://"),
    ],
)
def test_celery_has_its_own_words_for_sockets(url, expected):
    assert stores.broker_url(url) == expected
