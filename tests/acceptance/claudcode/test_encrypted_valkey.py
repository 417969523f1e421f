"""Gateway, worker, cache and queue on Valkeys that speak nothing but TLS, by an own authority."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest
import redis
from django.core.cache.backends.base import BaseCache
from django.utils.module_loading import import_string

from claudcode import stores
from claudcode.doctor.findings import Level
from claudcode.doctor.stores import look_at_valkey
from keys import live, services
from keys.purge import cache_purge
from keys.valkey import client_of
from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.developer import Developer, a_question
from tests.acceptance.gateway_process import ROOT, GatewayProcess
from tests.acceptance.installation import Installation
from tests.factories import a_key_and_secret
from tests.valkey_cluster import Server, a_cluster
from tests.valkey_encryption import Encryption, server_with_tls
from tests.waiting import wait_until
from usage.models import LedgerEntry

pytestmark = pytest.mark.skipif(
    server_with_tls() is None, reason="no valkey-server or redis-server here speaks TLS"
)
CELERY = [sys.executable, "-m", "celery", "-A", "claudcode"]
# Beat apart: inside of a worker it would be a fork of threads that speak TLS, which may hang.
WORKER = ["worker", "--pool", "threads", "--concurrency", "2"]
BEAT = ["beat", "--pidfile="]


@pytest.fixture(params=["single", "cluster"])
def url(request, tmp_path: Path) -> Iterator[str]:
    """Where the store is, for who trusts its authority."""
    encryption = Encryption(tmp_path)
    with contextlib.ExitStack() as running:
        if request.param == "cluster":
            plain = running.enter_context(a_cluster(tmp_path, encryption)).url
        else:
            server = Server(tmp_path, "alone", {}, encryption=encryption)
            running.callback(server.stop)
            plain = f"rediss://localhost:{server.port}/0"
        yield encryption.of_url(plain)


@pytest.fixture
def installation(
    shared_installation: Installation, url: str, django_db_blocker
) -> Iterator[Installation]:
    """The ledger of other tests, beside a Valkey of its own."""
    found = Installation(shared_installation.database_url, url)
    with django_db_blocker.unblock(), found.connected():
        yield found


@pytest.fixture
def gateway(installation: Installation, shared_simulator) -> Iterator[GatewayProcess]:
    # A crowded machine may be slow; whether Valkey is in time is no matter here.
    settings = IMPATIENT | {"VALKEY_SECONDS_MAX": "10"}
    with GatewayProcess(installation, shared_simulator.url, **settings) as gateway:
        yield gateway


@pytest.fixture
def developers(gateway: GatewayProcess, http) -> list[Developer]:
    """Their keys are on all primaries, most likely."""
    fields = {"rpm": 5, "concurrency": None, "cache_enabled": True}
    return [Developer(http, gateway.url, *a_key_and_secret(**fields)) for _ in range(4)]


def test_all_of_an_installation_works_over_tls(developers, gateway, installation, tmp_path):
    answered_and_limited(developers, gateway)
    seen_live_and_purged(developers)
    revoked(developers)
    cached_by_django(installation.valkey_url)
    assert next(one for one in look_at_valkey() if one.name == "valkey").level is Level.OK
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        client_of.__wrapped__(installation.valkey_url.partition("?")[0], 5.0).ping()
    drained_by_a_worker(developers, installation, tmp_path)


def answered_and_limited(developers, gateway):
    for each in developers:
        with anthropic.Anthropic(base_url=gateway.url, api_key=each.secret) as client:
            assert client.messages.create(**a_question()).content[0].text
        assert [each.ask("Kept?").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]
    last = developers[-1]
    assert [last.ask(f"{n}?").status_code for n in range(3)] == [200, 200, 429]


def seen_live_and_purged(developers):
    with developers[0].listen("[[sim:tokens=2000]] [[sim:rate=200]]"):
        wait_until(lambda: live.in_flight_of_all() == 1)
    assert cache_purge(holder=None, acting_user=None) >= len(developers)
    wait_until(lambda: live.in_flight_of_all() == 0, 20)


def revoked(developers):
    services.apikey_revoke(apikey=developers[1].apikey, acting_user=None)
    wait_until(lambda: developers[1].ask().status_code == 401)


def cached_by_django(url):
    entry = stores.cache(url)
    cache: BaseCache = import_string(entry.pop("BACKEND"))(entry.pop("LOCATION"), entry)
    cache.set_many({"one": 1, "two": 2})
    assert cache.get_many(["one", "two", "three"]) == {"one": 1, "two": 2}


def drained_by_a_worker(developers, installation, folder):
    keys = [each.apikey for each in developers]
    with worker_and_beat(installation, folder) as environment:
        wait_until(lambda: LedgerEntry.objects.filter(apikey__in=keys).count() >= 15, 60)
        # One whose queue is away drains as well, but not as a task that it was sent.
        wait_until(lambda: drains(environment), 90)


def drains(environment: dict[str, str]) -> int:
    command = [*CELERY, "inspect", "stats", "--json", "--timeout", "5"]
    asked = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False)
    answers = json.loads(asked.stdout) if asked.returncode == 0 else {}
    return sum(stats["total"].get("usage.tasks.drain", 0) for stats in answers.values())


@contextlib.contextmanager
def worker_and_beat(installation: Installation, folder: Path) -> Iterator[dict[str, str]]:
    stores = {"DATABASE_URL": installation.database_url, "VALKEY_URL": installation.valkey_url}
    environment = os.environ | stores
    crew = [WORKER, [*BEAT, "--schedule", str(folder / "schedule")]]
    with contextlib.ExitStack() as running:
        started = [running.enter_context(celery(words, environment, folder)) for words in crew]
        yield environment
        for one in started:
            one.terminate()
        assert [one.wait(30) for one in started] == [0, 0]


@contextlib.contextmanager
def celery(
    words: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{words[0]}.log").open("wb") as log:
        one = subprocess.Popen([*CELERY, *words], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield one
    finally:
        one.kill()
        one.wait()
