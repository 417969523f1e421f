"""The release before this one goes on serving while and after this one migrates its database."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import IMPATIENT, with_database
from tests.acceptance.gateway_process import ROOT, GatewayProcess
from tests.acceptance.installation import Installation, new_database
from tests.previous_release import COMMIT
from tests.waiting import wait_until
from usage.models import LedgerEntry
from usage.partitions import partitions

pytestmark = pytest.mark.slow

VALKEY_DATABASE = 7  # Others have 8 to 15 (tests/acceptance/).
COMMAND_S = 120


@dataclass
class Release:
    """A release's code in a folder, run on an installation."""

    root: Path
    installation: Installation

    def manage(self, *words: str) -> str:
        """Run a management command; return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DATABASE_URL": self.installation.database_url,
            "VALKEY_URL": self.installation.valkey_url,
        }


@pytest.fixture(scope="module")
def installation(engines: None, django_db_blocker) -> Iterator[Installation]:
    """An installation that the release before has migrated."""
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    name = f"claudcode_previous_{os.getpid()}"
    with new_database(os.environ["DATABASE_URL"], name) as database_url:
        found = Installation(database_url, valkey_url)
        with found.valkey() as valkey:
            valkey.flushdb()
        with django_db_blocker.unblock(), found.connected():
            yield found


@pytest.fixture(scope="module")
def previous(installation, tmp_path_factory) -> Release:
    folder = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(
        ["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tree:
        tree.extractall(folder, filter="data")
    release = Release(folder, installation)
    release.manage("migrate", "--verbosity", "0")
    return release


@pytest.fixture(scope="module")
def its_worker(previous, tmp_path_factory) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the release before; nobody asks it, so it drains and sweeps by itself."""
    log = (tmp_path_factory.mktemp("logs") / "worker").open("wb")
    words = [sys.executable, "-m", "celery", "-A", "claudcode", "-q", "worker"]
    with (
        log,
        subprocess.Popen(
            [*words, "--pool", "threads", "--concurrency", "2"],
            cwd=previous.root,
            env=previous.environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        yield process
        process.terminate()


def a_key_of(release: Release) -> str:
    """Have the release issue a key; return its secret."""
    words = ("apikey_issue", "--name", "of a release", "--rpm", "1000", "--no-cache", "--json")
    return str(json.loads(release.manage(*words))["secret"])


def ask(http, gateway: GatewayProcess, secret: str, **fields) -> str:
    """Ask for a message; return the name of the exchange."""
    question = {"role": "user", "content": "Hello!"}
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [question]} | fields
    headers = {"x-api-key": secret}
    answer = http.post(f"{gateway.url}/v1/messages", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["request-id"]).removeprefix("req_")


def in_ledger(exchanges: list[str]) -> bool:
    return LedgerEntry.objects.filter(pk__in=exchanges).count() == len(exchanges)


def test_it_serves_and_writes_before_and_after_the_migration(
    previous, its_worker, installation, shared_simulator, http
):
    own = GatewayProcess(installation, shared_simulator.url, root=previous.root, **IMPATIENT)
    with own as gateway:
        secret = a_key_of(previous)
        before = [ask(http, gateway, secret), ask(http, gateway, secret, stream=True)]
        present = Release(ROOT, installation)
        present.manage("migrate", "--verbosity", "0")
        assert partitions(), "the ledger is partitioned now"
        newcomer = a_key_of(previous)
        after = [ask(http, gateway, each, stream=True) for each in (secret, newcomer)]
        wait_until(lambda: in_ledger(before + after), 40, every_s=0.2)
        previous.manage("ledger_verify")
    with GatewayProcess(installation, shared_simulator.url, **IMPATIENT) as gateway:
        next_ones = [ask(http, gateway, each) for each in (secret, newcomer, a_key_of(present))]
        # The worker of before is still there, as in a rolling restart.
        wait_until(lambda: in_ledger(next_ones), 40, every_s=0.2)
    present.manage("ledger_verify")
