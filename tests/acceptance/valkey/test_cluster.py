"""The whole gateway on a Valkey Cluster: everything it does with one server, it does there."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.utils.module_loading import import_string
from redis import RedisError

from claudcode import stores
from claudcode.doctor.findings import Level
from claudcode.doctor.stores import look_at_valkey
from claudcode.metrics.gauges import of_valkey
from keys import live, services
from keys.limiter import shard_tag
from keys.policy import holder_shard
from keys.purge import cache_purge
from tests.acceptance.developer import a_question
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

pytestmark = pytest.mark.slow


@pytest.fixture
def developers(a_developer, cluster):
    """Developers whose keys are on all three primaries."""
    made = [a_developer(rpm=None, concurrency=None, cache_enabled=True) for _ in range(12)]
    homes = {cluster.primary_of(shard_tag(holder_shard(d.apikey))).port for d in made}
    assert len(homes) == 3
    return made


def test_the_sdk_is_answered_whichever_primary_has_the_key(developers, gateway):
    for each in developers:
        with anthropic.Anthropic(base_url=gateway.url, api_key=each.secret) as client:
            answer = client.messages.create(**a_question())
            assert answer.content[0].text
            with client.messages.stream(**a_question("And a stream?")) as stream:
                assert stream.get_final_text()
    keys = [each.apikey for each in developers]
    wait_until(lambda: ledger.drain() or rows_of(keys) == 24, seconds=10)


def test_answers_are_cached_and_purged_on_all_primaries(developers):
    def asked():
        return {each.ask("What is cached?").headers["x-cache"] for each in developers}

    assert asked() == {"MISS"}
    assert asked() == {"HIT"}
    assert cache_purge(holder=None, acting_user=None) >= len(developers)
    wait_until(lambda: asked() == {"MISS"}, seconds=5)


def test_limits_hold_and_are_told(a_developer):
    developer = a_developer(rpm=2)
    assert [developer.ask(f"{n}?").status_code for n in range(4)] == [200, 200, 429, 429]
    assert developer.get("/v1/key-status").status_code == 200


def test_a_revoked_key_is_refused_within_a_second(developers):
    for each in developers:
        each.ask()
        services.apikey_revoke(apikey=each.apikey, acting_user=None)
    wait_until(lambda: {each.ask().status_code for each in developers} == {401}, seconds=2)


def test_what_is_in_flight_is_seen_live(developers):
    with developers[0].listen("[[sim:tokens=2000]] [[sim:rate=200]]"):
        wait_until(lambda: live.in_flight_of_all() == 1)
        assert live.in_flight([each.apikey for each in developers]) == 1
        found = live.peek([each.apikey for each in developers])
        assert found[developers[0].apikey.pk].in_flight == 1


def test_books_agree(developers):
    for each in developers:
        each.ask("Do the books agree?")
    wait_until(lambda: live.in_flight_of_all() == 0)
    wait_until(lambda: ledger.drain_lag() == 0 or ledger.drain() < 0, seconds=10)
    call_command("ledger_verify")


def test_the_gateway_says_that_it_is_ready(developers, gateway, http):
    assert http.get(f"{gateway.url}/readyz").status_code == 200
    assert of_valkey()["valkey_primaries"] == 3


def test_doctor_looks_at_each_primary_and_at_the_whole(developers, cluster):
    found = {one.name: one.level for one in look_at_valkey()}
    assert (found["valkey cluster"], found["valkey clocks"]) == (Level.OK, Level.OK)
    for server in cluster.primaries():
        name = f"127.0.0.1:{server.port}"
        assert found[f"valkey replicas {name}"] is Level.OK
        assert found[f"valkey eviction {name}"] is Level.OK
        assert found[f"valkey persistence {name}"] is Level.WARNING  # It keeps no file here.


def test_django_caches_in_one_slot(installation):
    entry = stores.cache(installation.valkey_url)
    cache: BaseCache = import_string(entry.pop("BACKEND"))(entry.pop("LOCATION"), entry)
    cache.set_many({"one": 1, "two": 2})
    cache.incr("two")
    assert cache.get_many(["one", "two", "three"]) == {"one": 1, "two": 3}
    cache.delete_many(["one", "two"])
    assert cache.get("one") is None


def test_two_workers_and_beat_share_the_work(developers, celery):
    for each in developers:
        each.ask("Who drains this?")
    keys = [each.apikey for each in developers]
    wait_until(lambda: rows_of(keys) == len(keys), seconds=40)
    wait_until(lambda: len(celery.drains()) == 2 and all(celery.drains()), seconds=60)
    assert celery.stop() == [0, 0, 0]
    assert rows_of(keys) == len(keys)


def test_what_was_answered_is_in_the_ledger_though_a_primary_was_killed(developers, cluster):
    crowd = Crowd(developers)
    with crowd.at_work():
        wait_until(lambda: len(crowd.answered) > 40, seconds=30)
        cluster.primary_of(shard_tag(holder_shard(developers[0].apikey))).kill()
        wait_until(lambda: developers[0].ask().status_code == 200, seconds=40)
        asked = len(crowd.answered)
        wait_until(lambda: len(crowd.answered) > asked + 40, seconds=40)
    wait_until(lambda: rows_among(crowd.answered) == len(crowd.answered), seconds=40)
    assert crowd.statuses <= {200, 503}
    cluster.heal()
    wait_until(lambda: live.in_flight_of_all() == 0, seconds=20)
    wait_until(lambda: drained() and ledger.drain_lag() == 0, seconds=20)
    call_command("ledger_verify")


class Crowd:
    """Developers who ask all the time, and remember the exchanges that were answered in full."""

    def __init__(self, developers):
        self._developers, self._stopping = developers, threading.Event()
        self.answered, self.statuses = [], set()

    @contextlib.contextmanager
    def at_work(self):
        """Let them ask while the block runs."""
        with ThreadPoolExecutor(len(self._developers)) as threads:
            asking = [threads.submit(self._ask, each) for each in self._developers]
            try:
                yield
            finally:
                self._stopping.set()
        for one in asking:
            one.result()

    def _ask(self, developer):
        while not self._stopping.is_set():
            answer = developer.ask()
            self.statuses.add(answer.status_code)
            if answer.status_code == 200:
                self.answered.append(answer.headers["request-id"].removeprefix("req_"))


def drained():
    with contextlib.suppress(RedisError):
        ledger.drain()
        return True


def rows_among(exchange_ids):
    drained()
    return LedgerEntry.objects.filter(pk__in=list(exchange_ids)).count()


def rows_of(keys):
    return LedgerEntry.objects.filter(apikey__in=keys).count()
