"""One URL for each store, in the forms that Django and Celery want."""

import pytest
from psycopg.conninfo import conninfo_to_dict

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
        ("unix://me:word@/run/v.sock", "redis+socket://me:word@/run/v.sock?virtual_host=0"),
        ("redis://valkey:6379/2", "redis://valkey:6379/2"),
        ("", "memory://"),
        ("amqp://me:secret@rabbit//", "amqp://me:secret@rabbit//"),
        ("redis+cluster://:secret@h1:7000,h2", "valkey-cluster://h1:7000//"),
    ],
)
def test_celery_has_its_own_words_for_some(url, expected):
    assert stores.broker(url) == {"CELERY_BROKER_URL": expected}


def test_celery_knows_sentinels_one_by_one():
    url = "rediss+sentinel://:secret@s1,s2:26380/main?db=2&sentinel_password=other"
    assert stores.broker(url) == {
        "CELERY_BROKER_URL": "sentinel://:secret@s1:26379/2;sentinel://:secret@s2:26380/2",
        "CELERY_BROKER_TRANSPORT_OPTIONS": {
            "master_name": "main",
            "sentinel_kwargs": {"password": "other", "ssl": True},
        },
        "CELERY_BROKER_USE_SSL": {"ssl_cert_reqs": "required"},
    }


def test_the_cache_of_a_cluster_is_in_one_slot():
    entry = stores.cache("redis+cluster://:secret@h1:7000,h2")
    assert entry["KEY_PREFIX"] == "{django}"


@pytest.mark.parametrize("url", ["", "http://valkey"])
def test_without_a_valkey_url_nothing_is_cached(url):
    assert stores.cache(url)["BACKEND"].endswith("DummyCache")


def test_several_hosts_are_tried_one_by_one():
    url = "postgresql://me@h1:5433,h2/ledger?target_session_attrs=read-write"
    entry = stores.database(url, 10)
    assert (entry["HOST"], entry["PORT"]) == ("h1,h2", "5433,")
    assert entry["OPTIONS"]["target_session_attrs"] == "read-write"
    assert entry["OPTIONS"]["connect_timeout"] == stores.CONNECT_TO_EACH_SECONDS_MAX
    assert [conninfo_to_dict(each).get("host") for each in stores.each_host(url)] == ["h1", "h2"]
    assert [conninfo_to_dict(each).get("port") for each in stores.each_host(url)] == ["5433", None]


def test_what_a_url_says_of_a_cut_off_server_wins():
    url = "postgresql://me@h1/ledger?tcp_user_timeout=3000&connect_timeout=9"
    options = stores.database(url, 10)["OPTIONS"]
    assert (options["tcp_user_timeout"], options["connect_timeout"]) == ("3000", "9")
