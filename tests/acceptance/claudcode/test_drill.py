"""The restore drill: back up under load, destroy both stores, restore, compare the books.

In short here; `make drill` has the load last longer (CLAUDCODE_DRILL_S).
"""

import itertools
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from psycopg import sql

from claudcode.backup.archive import BackupError
from claudcode.backup.restoring import restore
from proxy.models import UpstreamAccount
from proxy.services import upstream_add
from tests.acceptance.conftest import with_database
from tests.acceptance.developer import a_question
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, disconnect, new_database
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key_and_secret
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry
from usage.verify import verify

pytestmark = pytest.mark.slow

VALKEY_DATABASE = 10  # Others have 11 to 15 (tests/acceptance/conftest.py).
CLIENTS = 4
SECONDS = float(os.environ.get("CLAUDCODE_DRILL_S", "2"))
KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
# Of claude-haiku-4-5, as listed.
INPUT_NANOUSD, OUTPUT_NANOUSD = 1_000, 5_000


@dataclass
class Load:
    """Clients who ask one thing after another, and know what was answered to them whole."""

    url: str
    secret: str
    answered: list[str] = field(default_factory=list)
    drain_died: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        clients = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        helpers = [*clients, threading.Thread(target=self._drain)]
        for helper in helpers:
            helper.start()
        try:
            yield
        finally:
            self._stop.set()
            self.drain_died.set()
            for helper in helpers:
                helper.join()

    def _client(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self._stop.is_set():
                marker = f"drill-{next(self._numbers)}"
                headers = {"x-api-key": self.secret, "user-agent": marker, "x-no-cache": "true"}
                question = a_question(marker, stream=True)
                http.post(f"{self.url}/v1/messages", json=question, headers=headers)
                self.answered.append(marker)

    def _drain(self) -> None:
        while not self.drain_died.wait(0.3):
            ledger.drain()
        connection.close()


@dataclass
class Drill:
    """What is known of the installation before it is destroyed."""

    installation: Installation
    file: Path
    answered_before: set[str]
    books: dict[str, dict]


@pytest.fixture(scope="module")
def installation(engines: None, pristine: str, django_db_blocker) -> Iterator[Installation]:
    """Stores of its own, which nobody else minds losing."""
    name = f"claudcode_drill_{os.getpid()}"
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    keys = override_settings(CREDENTIAL_KEYS=[KEY])
    with new_database(os.environ["DATABASE_URL"], name, pristine) as database_url:
        ours = Installation(database_url, valkey_url)
        with django_db_blocker.unblock(), ours.connected(), keys, ours.valkey() as valkey:
            valkey.flushdb()
            yield ours
            valkey.flushdb()


@pytest.fixture(scope="module")
def drill(installation: Installation, tmp_path_factory) -> Drill:
    """A backup that was taken under load, and stores that were destroyed then."""
    file = tmp_path_factory.mktemp("drill") / "backup.zip"
    _key, secret = a_key_and_secret(rpm=None, concurrency=None)
    with SimulatorProcess("--first-byte-ms", "20") as simulator:
        upstream_add(
            name="sealed", base_url=simulator.url, credential="sk-sealed", acting_user=None
        )
        with GatewayProcess(installation, simulator.url, workers=1, CREDENTIAL_KEYS=KEY) as gateway:
            load = Load(gateway.url, secret.text)
            with load.going_on():
                wait_until(lambda: len(load.answered) > 20, 60)
                threading.Event().wait(SECONDS)
                # From here on Valkey alone has what is settled.
                load.drain_died.set()
                enough = len(load.answered) + 10
                wait_until(lambda: len(load.answered) > enough, 60)
                before = set(load.answered)
                call_command("backup", str(file))
                more = len(load.answered) + 10
                wait_until(lambda: len(load.answered) > more, 60)
        books = {e["headers"]["user-agent"]: e for e in simulator.entries()}
    _destroy(installation)
    return Drill(installation, file, before, books)


def _destroy(installation: Installation) -> None:
    disconnect()
    name = connection.settings_dict["NAME"]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with installation.valkey() as valkey:
        valkey.flushdb()


def test_without_the_key_of_sealed_secrets_nothing_is_touched(drill: Drill):
    with (
        override_settings(CREDENTIAL_KEYS=[OTHER_KEY]),
        pytest.raises(BackupError, match="lacks 1 of the 1 keys"),
    ):
        restore(drill.file)
    assert "keys_apikey" not in connection.introspection.table_names()


def test_a_damaged_file_is_refused(drill: Drill, tmp_path: Path):
    content = bytearray(drill.file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        restore(tmp_path / "damaged.zip")


def test_the_file_is_its_owners_alone(drill: Drill):
    assert stat.S_IMODE(drill.file.stat().st_mode) == 0o600
    assert [path.name for path in drill.file.parent.iterdir()] == [drill.file.name]


def test_what_was_destroyed_comes_back_with_its_money(drill: Drill, capsys):
    call_command("restore", str(drill.file))
    capsys.readouterr()
    report = verify()
    assert not report.differences
    assert not report.dead_letters
    rows = {row.client_agent: row for row in LedgerEntry.objects.all()}
    assert len(rows) == LedgerEntry.objects.count()
    assert drill.answered_before <= rows.keys()
    completed = {marker: row for marker, row in rows.items() if row.status == "completed"}
    assert drill.answered_before <= completed.keys()
    charged = {marker: row.cost_nanousd for marker, row in completed.items()}
    assert charged == {marker: _cost(drill.books[marker]["usage"]) for marker in completed}
    assert {row.status for row in rows.values()} <= {"completed", "abandoned"}
    assert UpstreamAccount.objects.filter(name="sealed").exclude(credential=None).exists()


def test_stores_that_are_in_use_are_refused(drill: Drill):
    with pytest.raises(CommandError, match="--force"):
        call_command("restore", str(drill.file))


def test_force_replaces_them_and_loses_nothing(drill: Drill, capsys):
    entries = LedgerEntry.objects.count()
    call_command("restore", str(drill.file), "--force")
    assert LedgerEntry.objects.count() == entries
    assert not verify().differences


def test_a_backup_that_fails_leaves_the_last_one(drill: Drill, tmp_path: Path):
    last = tmp_path / "backup.zip"
    last.write_text(json.dumps("the last"))
    refused = connection.settings_dict | {"PASSWORD": "x", "NAME": "no-such-database"}
    before = connection.settings_dict
    connection.settings_dict = refused
    try:
        with pytest.raises(CommandError, match="pg_dump failed"):
            call_command("backup", str(last))
    finally:
        connection.settings_dict = before
    assert [path.name for path in tmp_path.iterdir()] == ["backup.zip"]
    assert json.loads(last.read_text()) == "the last"


def _cost(usage: dict) -> int:
    return usage["input_tokens"] * INPUT_NANOUSD + usage["output_tokens"] * OUTPUT_NANOUSD
