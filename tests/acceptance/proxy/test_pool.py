"""Several upstream accounts behind running gateways: whose trouble reaches a client, and whose not.

Each test has its own accounts, and gateways that know no others.
"""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cryptography.fernet import Fernet
from django.test import override_settings

from proxy.models import UpstreamAccount
from proxy.rest import resting
from proxy.services import upstream_add
from tests.acceptance.conftest import IMPATIENT, with_database
from tests.acceptance.developer import Developer, a_name, a_question, events
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, ledger_entry, new_database
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key_and_secret
from tests.waiting import wait_until

VALKEY_DATABASE = 13
CREDENTIAL_KEY = Fernet.generate_key().decode()
CREDENTIAL = "sk-ant-of-an-account"
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-6"
CLIENTS, QUESTIONS = 64, 3
# What each kind of simulator is started with.
KINDS = {
    "healthy": [],
    "other": [],
    "overloaded": ["--mark", "status=529"],
    "limited": ["--mark", "status=429 retry-after=60"],
    "cutting": ["--mark", "cut after=0"],
    "breaking": ["--mark", "cut after=5"],
    "failing": ["--mark", "status=500"],
    "refusing": ["--credential", "another-credential"],
    "spent": ["--mark", "status=402"],
    "slow": ["--first-byte-ms", "1500"],
}


@pytest.fixture(scope="module")
def installation(engines, pristine, django_db_blocker):
    """Stores of its own: accounts hold for a whole installation."""
    name = f"claudcode_pool_{os.getpid()}"
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    with new_database(os.environ["DATABASE_URL"], name, pristine) as database_url:
        installation = Installation(database_url, valkey_url)
        with (
            django_db_blocker.unblock(),
            installation.connected(),
            override_settings(CREDENTIAL_KEYS=[CREDENTIAL_KEY]),
        ):
            yield installation


@pytest.fixture(scope="module")
def simulators():
    """Simulators by kind, each started when it is asked for."""
    with contextlib.ExitStack() as running:
        started = {}

        def get(kind):
            if kind not in started:
                started[kind] = running.enter_context(SimulatorProcess(*KINDS[kind]))
            return started[kind]

        yield get


class Uncached(Developer):
    """A developer whose questions all go upstream."""

    @property
    def headers(self):
        return super().headers | {"x-no-cache": "true"}


class Pool:
    """Accounts and the gateways before them."""

    def __init__(self, stack, installation, simulators, http):
        self._stack, self._installation, self._http = stack, installation, http
        self._simulators = simulators
        UpstreamAccount.objects.all().delete()
        with installation.valkey() as valkey:
            valkey.flushdb()

    def account(self, kind, **fields):
        self._simulators(kind).reset()
        return upstream_add(
            name=f"account-{kind}",
            base_url=self._simulators(kind).url,
            credential=CREDENTIAL,
            acting_user=None,
            **fields,
        )

    def gateway(self, **settings):
        settings = IMPATIENT | {"CREDENTIAL_KEYS": CREDENTIAL_KEY} | settings
        gateway = GatewayProcess(self._installation, "http://127.0.0.1:9", **settings)
        return self._stack.enter_context(gateway)

    def developer(self, gateway=None, **fields):
        gateway = gateway or self.gateway()
        fields = {"rpm": None, "concurrency": None} | fields
        return Uncached(self._http, gateway.url, *a_key_and_secret(**fields))

    def asked(self, kind):
        """How many messages and counts a simulator was asked for."""
        entries = self._simulators(kind).entries()
        return sum(entry["method"] == "POST" for entry in entries)


@pytest.fixture
def pool(installation, simulators, http):
    with contextlib.ExitStack() as stack:
        yield Pool(stack, installation, simulators, http)


def ask_in_session(developer, session, **fields):
    headers = {"x-claude-code-session-id": session}
    return developer.post("/v1/messages", json=a_question(**fields), headers=headers)


def test_no_client_sees_an_error_while_one_account_is_healthy(pool):
    for kind in ("overloaded", "cutting", "healthy"):
        pool.account(kind)
    developer = pool.developer()
    developer.status()  # So that the key is looked up once, not by 64 at a time.

    def ask(number):
        return [
            ask_in_session(developer, f"{number}-{question}", stream=number % 2 == 0).status_code
            for question in range(QUESTIONS)
        ]

    with ThreadPoolExecutor(CLIENTS) as threads:
        answered = [status for each in threads.map(ask, range(CLIENTS)) for status in each]
    assert answered == [200] * CLIENTS * QUESTIONS
    assert pool.asked("healthy") == CLIENTS * QUESTIONS
    assert pool.asked("overloaded") + pool.asked("cutting") > 0


def test_all_bad_is_said_in_bounded_time(pool):
    for kind in ("overloaded", "cutting", "failing"):
        pool.account(kind)
    developer = pool.developer()
    developer.status()

    def ask(number):
        answer = ask_in_session(developer, str(number))
        kind = {529: "overloaded_error", 502: "api_error"}[answer.status_code]
        assert answer.json()["error"]["type"] == kind
        assert int(answer.headers["retry-after"]) > 0
        assert "account-" not in answer.text
        return answer.elapsed.total_seconds()

    with ThreadPoolExecutor(CLIENTS) as threads:
        assert max(threads.map(ask, range(CLIENTS))) < 10


@pytest.mark.parametrize("stream", [False, True])
def test_an_account_that_refuses_us_is_suspended_and_another_answers(pool, stream):
    refusing = pool.account("refusing", priority=1)
    pool.account("healthy", priority=2)
    developer = pool.developer()
    assert developer.ask(stream=stream).status_code == 200

    def suspended():
        return UpstreamAccount.objects.get(pk=refusing.pk).suspended_at

    wait_until(suspended)
    wait_until(lambda: refusing.pk in resting())
    before = pool.asked("refusing")
    assert [developer.ask().status_code for _question in range(5)] == [200] * 5
    assert pool.asked("refusing") == before


def test_the_only_account_refusing_us_is_502(pool):
    pool.account("refusing")
    developer = pool.developer()
    answers = [developer.ask() for _question in range(3)]
    wait_until(resting)
    for answer in [*answers, developer.ask()]:
        assert answer.status_code == 502
        assert "operator" in answer.json()["error"]["message"]
        assert CREDENTIAL not in answer.text


def test_a_request_that_is_refused_suspends_nobody(pool):
    account = pool.account("healthy")
    developer = pool.developer()
    assert developer.ask("[[sim:status=403]]").status_code == 502
    wait_until(lambda: account.pk not in resting())
    assert developer.ask().status_code == 200
    assert UpstreamAccount.objects.get(pk=account.pk).suspended_at is None


def test_an_account_out_of_money_rests_and_another_answers(pool):
    spent = pool.account("spent", priority=1)
    pool.account("healthy", priority=2)
    developer = pool.developer()
    assert [developer.ask().status_code for _question in range(3)] == [200] * 3
    assert pool.asked("spent") == 1
    assert "out of money" in wait_until(resting)[spent.pk].reason


def test_no_account_at_all_is_502(pool):
    pool.account("healthy", enabled=False)
    assert pool.developer().ask().status_code == 502


def test_a_better_priority_takes_everything(pool):
    pool.account("other", priority=2, weight=100)
    pool.account("healthy", priority=1)
    developer = pool.developer()
    for session in range(10):
        ask_in_session(developer, str(session))
    assert (pool.asked("healthy"), pool.asked("other")) == (10, 0)


def test_accounts_share_sessions_by_weight_and_every_gateway_sends_a_session_to_the_same(pool):
    pool.account("healthy", weight=3)
    pool.account("other", weight=1)
    first = pool.developer()
    second = pool.developer()
    second.apikey, second.secret = first.apikey, first.secret

    def shares(developer):
        for session in range(40):
            assert ask_in_session(developer, f"session {session}").status_code == 200
        return pool.asked("healthy"), pool.asked("other")

    healthy, other = shares(first)
    # Of 40 draws at 3 to 1: 30 expected, four standard deviations are 11.
    assert 19 <= healthy < 40
    assert healthy + other == 40
    assert shares(second) == (2 * healthy, 2 * other)


def test_an_account_gets_only_the_models_it_serves(pool):
    pool.account("other", priority=1, models=[OPUS])
    pool.account("healthy", priority=2, models=["claude-haiku-*"])
    developer = pool.developer()
    assert developer.ask(model=HAIKU).status_code == 200
    assert (pool.asked("healthy"), pool.asked("other")) == (1, 0)
    assert developer.ask(model=OPUS).status_code == 200
    assert (pool.asked("healthy"), pool.asked("other")) == (1, 1)
    answer = developer.ask(model="claude-sonnet-4-6")
    assert answer.status_code == 502
    assert "claude-sonnet-4-6" in answer.json()["error"]["message"]


def test_a_rest_is_obeyed_by_a_second_gateway_within_a_second(pool):
    limited = pool.account("limited", priority=1)
    pool.account("healthy", priority=2)
    first = pool.developer()
    second = pool.developer()
    assert first.ask().status_code == 200
    assert pool.asked("limited") == 1
    rested_at = time.monotonic()
    wait_until(resting)
    # The second gateway has a second to hear of it; then nobody asks that account.
    wait_until(lambda: time.monotonic() - rested_at > 1, seconds=2)
    assert [second.ask().status_code for _question in range(5)] == [200] * 5
    assert pool.asked("limited") == 1
    assert 50 < resting()[limited.pk].until.timestamp() - time.time() <= 60


def test_a_rate_limit_of_every_account_is_529_until_the_first_of_them_is_back(pool):
    pool.account("limited")
    developer = pool.developer()
    answers = [developer.ask() for _question in range(3)]
    assert [answer.status_code for answer in answers] == [529] * 3
    assert all(50 < int(answer.headers["retry-after"]) <= 60 for answer in answers)
    assert pool.asked("limited") == 1
    assert developer.ask(model=OPUS).status_code == 529
    assert pool.asked("limited") == 2, "another model has rate limits of its own"


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_sent_twice_after_the_first_byte(pool, stream):
    pool.account("breaking", priority=1)
    pool.account("healthy", priority=2)
    developer = pool.developer()
    with contextlib.suppress(Exception):  # An answer that is no stream is cut off.
        assert "error" in events(developer.ask(stream=stream))
    assert pool.asked("breaking") == 1
    assert pool.asked("healthy") == 0


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_requests_own_fault_comes_back_at_once(pool, status):
    pool.account("healthy")
    pool.account("other")
    answer = pool.developer().ask(f"[[sim:status={status}]]")
    assert answer.status_code == status
    assert pool.asked("healthy") + pool.asked("other") == 1


def test_the_ledger_has_every_attempt(pool):
    pool.account("overloaded", priority=1)
    pool.account("cutting", priority=2)
    pool.account("healthy", priority=3)
    entry = ledger_entry(pool.developer().ask().headers["request-id"])
    tried = [(attempt["account"], attempt["outcome"]) for attempt in entry.attempts]
    assert tried == [
        ("account-overloaded", "529"),
        ("account-cutting", "broken"),
        ("account-healthy", "answered"),
    ]
    assert entry.upstream == "account-healthy"


def test_the_ledger_has_the_attempts_of_a_failure(pool):
    pool.account("failing", priority=1)
    pool.account("cutting", priority=2)
    entry = ledger_entry(pool.developer().ask().headers["request-id"])
    assert [attempt["outcome"] for attempt in entry.attempts] == ["500", "broken"]
    assert (entry.upstream, entry.charged_tokens) == ("", 0)


def test_attempts_are_bounded(pool):
    for kind in ("overloaded", "cutting", "failing"):
        pool.account(kind)
    developer = pool.developer(pool.gateway(UPSTREAM_ATTEMPTS_MAX="2"))
    entry = ledger_entry(developer.ask().headers["request-id"])
    assert len(entry.attempts) == 2


def test_an_account_at_its_own_concurrency_is_passed_over(pool):
    pool.account("slow", priority=1, concurrency=1)
    pool.account("healthy", priority=2)
    first = pool.developer()
    second = pool.developer()
    with first.listen() as answer:
        assert answer.status_code == 200
        assert [second.ask().status_code for _question in range(3)] == [200] * 3
    assert pool.asked("healthy") == 3
    wait_until(lambda: pool.asked("slow") == 1)


def test_all_accounts_at_their_own_limits_are_529(pool):
    pool.account("healthy", rpm=2)
    developer = pool.developer()
    answers = [developer.ask() for _question in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 529]
    assert 50 < int(answers[2].headers["retry-after"]) <= 61
    assert pool.asked("healthy") == 2


def test_a_place_is_free_when_its_exchange_is_over(pool):
    pool.account("healthy", concurrency=1)
    developer = pool.developer()
    for prompt in ("Hello!", "[[sim:status=400]]", "[[sim:cut after=5]]", "[[sim:status=500]]"):
        with contextlib.suppress(Exception):
            developer.ask(f"{prompt} {a_name()}")
        wait_until(lambda: developer.ask().status_code == 200)


def test_a_place_is_free_when_its_client_has_left(pool):
    pool.account("healthy", concurrency=1)
    developer = pool.developer()
    developer.status()
    question = a_question("[[sim:slow seconds=20]]")
    with pytest.raises(httpx.ReadTimeout):
        developer.post("/v1/messages", json=question, timeout=0.5)
    wait_until(lambda: developer.ask().status_code == 200)


def test_counting_that_is_limited_leaves_messages_alone(pool):
    pool.account("healthy")
    developer = pool.developer()
    question = a_question("[[sim:status=429 retry-after=60]]")
    count = developer.post("/v1/messages/count_tokens", json=question)
    assert (count.status_code, count.headers["retry-after"]) == (529, "60")
    assert developer.ask().status_code == 200
