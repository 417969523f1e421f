"""`manage.py doctor` on stores that are well, away, silent, empty and set up wrong."""

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from claudcode import env
from claudcode.doctor import configured, running, stores
from claudcode.doctor.findings import Finding, Level, look_all
from tests import models_server
from tests.acceptance.installation import new_database
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger
from usage.core.partition import id_from, month_after, month_of, name_of

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def doctor(database_url, valkey, valkey_url):
    """Run the command with other settings; return its exit code, and levels by name."""

    def run(**settings: str) -> tuple[int, dict[str, str]]:
        given = {
            "DATABASE_URL": database_url,
            "VALKEY_URL": valkey_url,
            "ANTHROPIC_BASE_URL": f"http://{NOWHERE}",
            "ANTHROPIC_API_KEY": "a-credential",
        }
        ran = subprocess.run(
            [sys.executable, "manage.py", "doctor", "--json"],
            cwd=env.ROOT,
            env=os.environ | given | settings,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = json.loads(ran.stdout)
        assert said["ok"] is (ran.returncode == 0), ran.stderr
        return ran.returncode, {one["name"]: one["level"] for one in said["findings"]}

    return run


@pytest.fixture
def silent_address() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def levels(found: list[Finding]) -> dict[str, Level]:
    return {one.name: one.level for one in found}


def test_stores_that_are_well(doctor):
    code, found = doctor()
    names = ("postgres", "postgres clock", "migrations", "valkey", "valkey clock", "drain")
    assert {found[name] for name in names} == {"ok"}
    assert (code, found["worker"]) == (1, "error")
    assert [level for name, level in found.items() if name.startswith("upstream ")] == ["error"]


def test_stores_that_are_away_or_silent_are_named_and_the_rest_is_skipped(doctor, silent_address):
    code, found = doctor(
        DATABASE_URL=f"postgresql://me:word@{NOWHERE}/nowhere",
        VALKEY_URL=f"redis://{silent_address}",
    )
    assert code == 1
    assert (found["postgres"], found["valkey"]) == ("error", "error")
    assert (found["upstream"], found["worker"], found["drain"]) == ("skipped",) * 3


def test_a_database_without_tables(doctor, database_url):
    with new_database(database_url, f"claudcode_doctor_{os.getpid()}") as empty:
        code, found = doctor(DATABASE_URL=empty)
    assert (code, found["postgres"], found["migrations"]) == (1, "ok", "error")


@pytest.mark.parametrize(
    ("name", "value", "finding", "level"),
    [
        ("maxmemory-policy", "allkeys-lru", "valkey eviction", Level.ERROR),
        ("maxmemory-policy", "volatile-lfu", "valkey eviction", Level.OK),
        ("maxmemory", "0", "valkey memory", Level.WARNING),
        ("maxmemory", "1gb", "valkey memory", Level.OK),
        ("appendfsync", "no", "valkey persistence", Level.WARNING),
    ],
)
def test_a_valkey_set_up(valkey, name, value, finding, level):
    before = valkey.config_get(name)[name]
    appending = valkey.config_get("appendonly")["appendonly"]
    valkey.config_set(name, value)
    valkey.config_set("appendonly", "yes")
    try:
        found = levels(list(stores.look_at_valkey()))
    finally:
        valkey.config_set(name, before)
        valkey.config_set("appendonly", appending)
    assert found[finding] is level


@pytest.mark.parametrize(
    ("ahead_s", "level"),
    [(0.2, Level.OK), (-1.5, Level.WARNING), (7, Level.ERROR), (-7, Level.ERROR)],
)
def test_a_clock(ahead_s, level):
    assert stores.clock("clock", ahead_s).level is level


@pytest.mark.parametrize(
    ("setting", "value", "look", "finding"),
    [
        ("SECRET_KEY", "x" * 60, configured.look_at_secrets, "secret key"),
        (
            "SECRET_KEY",
            "django-insecure-" + "0a9b8c7d6e" * 5,
            configured.look_at_secrets,
            "secret key",
        ),
        ("DEBUG", True, configured.look_at_site, "debug"),
        ("PUBLIC_URL", "https://claude.example.com", configured.look_at_site, "host names"),
        ("PUBLIC_URL", "http://claude.example.com", configured.look_at_site, "tls"),
        (
            "VALKEY_URL",
            "redis://valkey.internal:6379/0",
            configured.look_at_secrets,
            "valkey password",
        ),
    ],
)
def test_what_endangers_secrets_is_an_error(settings, setting, value, look, finding):
    setattr(settings, setting, value)
    assert levels(list(look()))[finding] is Level.ERROR


def test_plain_ways_to_other_machines_are_warned_of(settings):
    settings.DATABASE_URL = "postgresql://me:word@db.internal/claudcode"
    settings.VALKEY_URL = "redis://valkey.internal:6379/0"
    found = levels(list(configured.look_at_encryption()))
    assert found == {"postgres tls": Level.WARNING, "valkey tls": Level.WARNING}


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (models_server.models("claude-a"), Level.OK),
        (models_server.error(401, "invalid x-api-key"), Level.ERROR),
    ],
    ids=["accepted", "refused"],
)
def test_an_upstream_that_takes_the_credential_or_not(db, settings, answer, level):
    with models_server.serving() as upstream:
        upstream.answer = lambda *_: answer
        settings.ANTHROPIC_BASE_URL, settings.ANTHROPIC_API_KEY = upstream.url, "a-credential"
        (found,) = running.look_at_upstreams()
    assert (found.level, len(upstream.asked)) == (level, 1)
    assert "a-credential" not in found.seen


def test_a_ledger_with_its_months_is_well(db):
    (found,) = running.look_at_months()
    assert found.level is Level.OK


def test_a_month_that_nobody_made_and_entries_of_none_are_warned_of(db, valkey):
    next_month = name_of(month_after(month_of(dt.datetime.now(dt.UTC))))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {next_month}")
    gone_mad = UUID(int=id_from(dt.datetime(2090, 5, 17, tzinfo=dt.UTC)).int).hex
    append_event(valkey, an_opening(exchange_id=gone_mad), a_closing())
    ledger.drain()
    missing, stray = running.look_at_months()
    assert (missing.level, stray.level) == (Level.WARNING, Level.WARNING)
    assert next_month[-7:].replace("_", "-") in missing.seen


def test_operators_without_a_second_factor_are_named(db):
    User.objects.create_user("ada", is_staff=True)
    (found,) = running.look_at_operators()
    assert found.level is Level.WARNING
    assert "ada" in found.seen


def test_a_look_that_hangs_ends_in_time_and_holds_nobody_up():
    here, there = socket.socketpair()
    with here, there:
        looks = {"hangs": lambda: [here.recv(1)], "well": lambda: []}
        found = list(look_all(looks, seconds_max=0.2))
        there.sendall(b"x")
    assert levels(found) == {"hangs": Level.ERROR}
