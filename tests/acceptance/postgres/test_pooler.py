"""PgBouncer in transaction mode before Postgres, with fewer sessions than there are clients."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client

from keys.models import ApiKey
from tests.acceptance.developer import Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.postgres.conftest import a_gateway, installation_at
from tests.factories import a_budget, a_key_and_secret, an_operator
from tests.postgres_pair import Pair, a_pooler, pgbouncer_program
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(pgbouncer_program() is None, reason="there is no pgbouncer"),
]
SESSIONS, CLIENTS = 2, 8
PAGES = ("/admin/", "/admin/keys/apikey/", "/admin/keys/apikey/add/", "/admin/keys/team/")
PAGES += ("/admin/usage/ledgerentry/", "/admin/keys/auditevent/", "/usage/", "/admin/usage/price/")


@pytest.fixture(scope="module")
def pooler_url(pair: Pair) -> Iterator[str]:
    with a_pooler(pair.primary, sessions=SESSIONS) as url:
        yield url


@pytest.fixture(scope="module")
def installation(pooler_url: str, django_db_blocker) -> Iterator[Installation]:
    found = installation_at(pooler_url)
    with django_db_blocker.unblock(), found.connected():
        yield found


@pytest.fixture(scope="module")
def gateway(installation, shared_simulator) -> Iterator[GatewayProcess]:
    with a_gateway(installation, shared_simulator) as gateway:
        yield gateway


def at_once(ask, count: int) -> list:
    def then_close(_number):
        try:
            return ask()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(then_close, range(count)))


def rows_of(developers) -> int:
    keys = [developer.apikey for developer in developers]
    return LedgerEntry.objects.filter(apikey__in=keys).count()


def test_newcomers_are_looked_up_and_drained_by_several_at_once(gateway, http):
    def a_newcomer_asks() -> Developer:
        newcomer = Developer(http, gateway.url, *a_key_and_secret(rpm=None))
        for prompt in ("One?", "Two?"):
            assert newcomer.ask(prompt).status_code == 200
        return newcomer

    developers = at_once(a_newcomer_asks, CLIENTS)
    wait_until(lambda: at_once(ledger.drain, 2) and rows_of(developers) == 2 * CLIENTS, 15)
    call_command("ledger_verify")


def test_what_was_used_is_read_at_a_cold_start(a_developer, installation):
    developer = a_developer(rpm=None, concurrency=None)
    a_budget(developer.apikey, limit=1_000_000)
    assert developer.ask().status_code == 200
    wait_until(lambda: ledger.drain() and rows_of([developer]) == 1)
    used = wait_until(lambda: charged(developer))
    with installation.valkey() as valkey:
        valkey.flushdb()
    wait_until(lambda: charged(developer) == used)


def charged(developer: Developer) -> int:
    """Return what counts as used in the budget; an empty Valkey has it from Postgres."""
    return developer.status()["budget"]["used_tokens"]


def test_pages_of_the_console_are_shown(installation):
    operator = an_operator()

    def look() -> dict[str, int]:
        client = Client()
        client.force_login(operator)
        return {page: client.get(page).status_code for page in PAGES}

    assert at_once(look, 3) == [dict.fromkeys(PAGES, 200)] * 3


def test_exports_are_whole(a_developer, installation):
    developers = [a_developer(rpm=None) for _ in range(3)]
    for developer in developers:
        developer.ask()
    wait_until(lambda: ledger.drain() or rows_of(developers) == 3, 10)
    for command in ("ledger_export", "audit_export"):
        written = StringIO()
        call_command(command, "--format", "jsonl", stdout=written)
        assert len(written.getvalue().splitlines()) >= 3


def test_cursors_of_the_server_end_with_the_transaction(a_developer):
    for _ in range(5):
        a_developer()
    unfinished = [ApiKey.objects.iterator(chunk_size=2) for _ in range(4)]
    assert all(next(rows).pk for rows in unfinished)
    with transaction.atomic():
        names = {key.prefix for key in ApiKey.objects.iterator(chunk_size=2)}
    assert len(names) == ApiKey.objects.count()
    assert not left_behind("pg_cursors")


def test_nothing_is_left_in_a_session(a_developer):
    a_developer().ask()
    for _ in range(10):
        assert ApiKey.objects.filter(prefix="none").first() is None
    assert not left_behind("pg_prepared_statements")


def left_behind(view: str) -> int:
    """Return how much of it the sessions hold that ours may be."""
    found = 0
    for _ in range(2 * SESSIONS):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {view} WHERE statement NOT LIKE '%pg_cursors%'")
            found += cursor.fetchone()[0]
    return found


def test_another_clients_time_zone_is_not_ours(pooler_url):
    other = psycopg.connect(pooler_url, autocommit=True, prepare_threshold=None)
    zones = set()
    with other:
        other.execute("SET TimeZone TO 'Asia/Tokyo'")
        for _ in range(6):
            other.execute("SELECT 1")
            with connection.cursor() as cursor:
                cursor.execute("SHOW timezone")
                zones.add(cursor.fetchone()[0])
    assert zones == {"UTC"}
