"""No prompt, answer, argument, result or secret is kept anywhere but answers in the response cache.

Every part of a load of all kinds is a word of its own; then everything that the installation keeps
is searched for them: Postgres, Valkey, logs, spans, figures, temporary files, the state folder.
"""

import datetime as dt
import json
import os
import secrets
from pathlib import Path

import httpx
import pytest

from tests.acceptance.developer import Developer, a_question
from tests.acceptance.gateway_process import UPSTREAM_CREDENTIAL, GatewayProcess
from tests.acceptance.observed.conftest import CREDENTIAL_KEY, UPSTREAM_SECRET
from tests.acceptance.observed.load import Words, drive, tools
from tests.acceptance.observed.programs import celery
from tests.acceptance.observed.search import Search
from tests.factories import a_key_and_secret
from tests.waiting import wait_until
from usage.models import DeadLetter, LedgerEntry

METRICS_TOKEN = "token-of-the-figures-" + "x" * 20
KINDS = {"completed", "hung_up", "upstream_error"}
SECRET_KEY = "only-for-canaries-" + "y" * 50


class Watched:
    """A running installation, what was asked of it, and where it may have left something."""

    def __init__(self, installation, folder, collector, gateway, logs):
        self.installation, self.folder, self.collector = installation, folder, collector
        self.gateway, self._logs = gateway, logs
        self.words = Words()
        self.answers: list[httpx.Response] = []

    def developer(self, http, **fields):
        """Somebody whose own secret is looked for too."""
        fields = {"rpm": None, "concurrency": None} | fields
        developer = Developer(http, self.gateway.url, *a_key_and_secret(**fields))
        self.words.private.append(developer.secret)
        return developer

    def logs(self):
        """What each process has printed."""
        return {name: path.read_text() for name, path in self._logs.items()} | {
            "gateway": self.gateway.log()
        }

    def found(self, words):
        """Where any of `words` is kept."""
        search = Search(words)
        yield from search.postgres(self.installation.database_url)
        with self.installation.valkey() as valkey:
            yield from search.valkey(valkey)
        for name, text in self.logs().items():
            yield from search.data(f"log {name}", text.encode())
        for raw in list(self.collector.raw):
            yield from search.data("spans", raw)
        yield from search.data("/metrics", self.figures())
        yield from search.files(self.folder)
        yield from search.files(Path(os.environ.get("CLAUDCODE_STATE", self.folder)) / "logs")

    def figures(self):
        """The page of /metrics."""
        bearer = {"authorization": f"Bearer {METRICS_TOKEN}"}
        return httpx.get(f"{self.gateway.url}/metrics", headers=bearer, trust_env=False).content


@pytest.fixture(scope="module")
def watched(installation, gateway_settings, collector, simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    told = gateway_settings | {
        "TRACES_ENDPOINT": collector.endpoint,
        "METRICS_TOKEN": METRICS_TOKEN,
        "LOG_LEVEL": "DEBUG",
        "STATE": str(folder / "state"),
        "SECRET_KEY": SECRET_KEY,
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TMPDIR", str(folder))
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        environment.setenv("DATABASE_URL", installation.database_url)
        environment.setenv("VALKEY_URL", installation.valkey_url)
        environment.setenv("PYTHONUNBUFFERED", "1")
        for name, value in told.items():
            environment.setenv(f"CLAUDCODE_{name}", value)
        gateway = GatewayProcess(installation, "http://127.0.0.1:9")
        with gateway, celery(folder, dict(os.environ)) as logs:
            yield Watched(installation, folder, collector, gateway, logs)


@pytest.fixture(scope="module")
def loaded(watched, http):
    """The same, after the load, when all of it has arrived where it is kept."""
    plain = watched.developer(http, cache_enabled=False)
    cached = watched.developer(http, cache_enabled=True)
    watched.answers += drive(plain, watched.words)
    watched.answers += tools(plain, watched.words, cached=False)
    watched.answers += tools(cached, watched.words, cached=True)
    word = watched.words.new("answer", cached=True)
    question = a_question(f"{watched.words.new('prompt')} [[sim:say={word}]]")
    watched.answers += [cached.post("/v1/messages", json=question) for _ in range(2)]
    last = watched.answers[-1]
    assert last.headers["x-cache"] == "HIT"
    wait_until(lambda: _in_the_ledger(last) and _statuses() >= KINDS, 30)
    watched.collector.call(last.headers["request-id"])
    return watched


def _in_the_ledger(answer):
    exchange_id = answer.headers["request-id"].removeprefix("req_")
    return LedgerEntry.objects.filter(exchange_id=exchange_id).exists()


def _statuses():
    return set(LedgerEntry.objects.values_list("status", flat=True))


def test_the_load_was_what_it_is_meant_to_be(loaded):
    statuses = {answer.status_code for answer in loaded.answers}
    assert {200, 400, 401, 403, 502} <= statuses
    assert _statuses() >= KINDS
    models = set(LedgerEntry.objects.values_list("model_answered", flat=True))
    assert {"claude-haiku-4-5-20251001", "tavily-search"} <= models


def test_nothing_private_is_kept_anywhere(loaded):
    private = [*loaded.words.private, UPSTREAM_SECRET, UPSTREAM_CREDENTIAL, CREDENTIAL_KEY]
    assert len(private) > 150
    assert {(one.word, one.place) for one in loaded.found(private)} == set()


def test_answers_for_repetition_are_in_the_response_cache_alone(loaded):
    places = [one.place for one in loaded.found(loaded.words.cached)]
    assert places
    assert [place for place in places if ":r:" not in place] == []


def test_the_search_finds_what_is_planted(watched):
    """Whatever it is kept in; or its silence would mean nothing."""
    word = f"zqplanted{secrets.token_hex(4)}"
    letter = {"shard": 0, "stream_id": "1-1", "fields": {"o": word}, "error": ""}
    moment = dt.datetime.now(dt.UTC)
    planted = DeadLetter.objects.create(**letter, found_at=moment)
    file = Path(watched.folder) / "left-over"
    file.write_text(f"{word}\n")
    names = [f"planted-{kind}" for kind in ("string", "hash", "list", "set", "zset", "stream")]
    with watched.installation.valkey() as valkey:
        valkey.set(names[0], word.encode().hex())
        valkey.hset(names[1], "field", word)
        valkey.rpush(names[2], word)
        valkey.sadd(names[3], word)
        valkey.zadd(names[4], {word: 1})
        valkey.xadd(names[5], {"field": word})
        places = {one.place for one in watched.found([word])}
        valkey.delete(*names)
    planted.delete()
    file.unlink()
    expected = {"postgres public.usage_deadletter", "file left-over"}
    expected |= {f"valkey {name}" for name in names}
    # What planted it in Postgres is what its session was last at.
    assert places - {"postgres pg_stat_activity"} == expected


def test_every_line_of_every_process_is_json(loaded):
    lines = [line for text in loaded.logs().values() for line in text.splitlines()]
    assert len(lines) > 20
    read = [json.loads(line) for line in lines]
    missing = [line for line in read if not {"level", "logger", "message"} <= set(line)]
    assert missing == []
    offsets = {dt.datetime.fromisoformat(line["at"]).utcoffset() for line in read}
    assert offsets == {dt.timedelta(0)}


def test_lines_about_an_account_name_the_request(loaded):
    lines = [json.loads(line) for line in loaded.logs()["gateway"].splitlines()]
    about = [line for line in lines if line["message"].startswith("upstream account fine: ")]
    assert about
    answered = {answer.headers.get("request-id") for answer in loaded.answers}
    assert {line["request_id"] for line in about} <= answered
