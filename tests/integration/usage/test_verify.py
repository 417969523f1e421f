import asyncio
import json
import time
from io import StringIO

import pytest
import redis.asyncio
from django.core.management import call_command

from keys.core.budget import BudgetSpec
from keys.core.limits import Unit, Wanted
from keys.limiter import Limiter, Past, Settlement
from keys.models import Budget
from keys.policy import load_policy
from keys.services import apikey_update, budget_remove, budget_reset
from keys.sweep import sweep
from tests.factories import a_key, a_team
from tests.ledger_events import a_closing, an_opening, append_event, append_fields
from usage import ledger
from usage.core.event import encode_closing, encode_opening
from usage.models import HourlyRollup, LedgerEntry
from usage.verify import WINDOWS_AT_ONCE, verify

BUDGETS = (
    BudgetSpec(Unit.TOKENS, window_s=18_000, limit=1_000_000),
    BudgetSpec(Unit.NANOUSD, window_s=86_400, limit=10**12),
)


class Exchange:
    """One exchange through the real limiter."""

    def __init__(self, url, apikey):
        self.url = url
        self.policy = load_policy(apikey.digest)
        self.opening = an_opening(
            apikey_id=apikey.pk, team_id=apikey.team_id, admitted_at_ms=time.time_ns() // 10**6
        )

    def admitted(self, lease_ttl_ms=60_000):
        wanted = Wanted(50, 50, 5_000, 5_000, 40, 40_000)
        opening = encode_opening(self.opening)
        self._run(
            lambda limiter: limiter.admit(self.policy, self.opening.exchange_id, wanted, opening),
            lease_ttl_ms,
        )
        return self

    def settled(self, tokens=120, nanousd=200_000):
        settlement = Settlement(
            shard=self.policy.shard,
            exchange_id=self.opening.exchange_id,
            scopes=" ".join(c.scope for c in self.policy.concurrencies),
            opening=encode_opening(self.opening),
            tokens=tokens,
            nanousd=nanousd,
            closing=encode_closing(a_closing(charged_tokens=tokens, cost_nanousd=nanousd)),
        )
        self._run(lambda limiter: limiter.settle(settlement, again=False))
        return self

    def _run(self, act, lease_ttl_ms=60_000):
        async def nothing_before(limit, backlog):
            return Past(())

        async def run():
            async with (
                redis.asyncio.Redis.from_url(self.url) as client,
                Limiter(client, nothing_before, lease_ttl_ms=lease_ttl_ms) as limiter,
            ):
                await act(limiter)

        asyncio.run(run())


@pytest.fixture
def exchange(db, valkey, valkey_url):
    return lambda apikey: Exchange(valkey_url, apikey)


@pytest.fixture
def apikey(db, valkey):
    return a_key(budgets=BUDGETS)


def differences():
    return [(d.where, d.stored, d.ledger) for d in verify().differences]


def window(valkey, apikey, name):
    (key,) = valkey.keys(f"*:w:k{apikey.pk}.0:{name}")
    return key.decode()


def only_bucket(valkey, key):
    (bucket,) = [field for field in valkey.hkeys(key) if field.startswith(b"b")]
    return bucket.decode()


def test_nothing_agrees_with_nothing(db, valkey):
    report = verify()
    assert (report.entries, report.windows, report.differences) == (0, 0, ())


def test_windows_agree_before_and_after_the_drain(exchange, apikey):
    exchange(apikey).admitted().settled()
    assert differences() == []
    ledger.drain()
    exchange(apikey).admitted().settled()
    report = verify()
    assert (report.entries, report.rollups, report.differences) == (1, 1, ())
    assert (report.windows, report.windows_skipped) == (3, 0)


def test_exchanges_in_flight_are_no_difference(exchange, apikey):
    exchange(apikey).admitted()
    assert differences() == []


def test_teams_agree(exchange):
    team = a_team(budgets=BUDGETS, rpm=100)
    for _ in range(2):
        exchange(a_key(team=team, budgets=BUDGETS)).admitted().settled()
    ledger.drain()
    report = verify()
    assert (report.windows, report.differences) == (9, ())


def test_an_abandonment_agrees_and_so_does_its_late_settlement(exchange, apikey):
    late = exchange(apikey).admitted(lease_ttl_ms=0)
    assert sweep() == 1
    assert differences() == []
    ledger.drain()
    late.settled()
    assert differences() == []
    ledger.drain()
    assert differences() == []
    assert LedgerEntry.objects.get().status == "completed"


@pytest.mark.parametrize("drain", [ledger.drain, int], ids=["in the ledger", "waiting"])
def test_a_settlement_told_again_counts_nowhere(exchange, apikey, valkey, drain):
    done = exchange(apikey).admitted().settled(tokens=120)
    drain()
    append_event(
        valkey,
        done.opening,
        a_closing(charged_tokens=7),
        shard=done.policy.shard,
        charged_at_ms=done.opening.admitted_at_ms,
    )
    assert differences() == []


def test_an_anchored_window_agrees(exchange):
    apikey = a_key(budgets=[BudgetSpec(Unit.TOKENS, 3_600, 1_000_000, anchored=True)])
    exchange(apikey).admitted().settled()
    ledger.drain()
    exchange(apikey).admitted().settled()
    assert differences() == []


def test_an_anchored_window_that_lost_a_charge_is_told(exchange, valkey):
    apikey = a_key(budgets=[BudgetSpec(Unit.TOKENS, 3_600, 1_000_000, anchored=True)])
    exchange(apikey).admitted().settled()
    valkey.hset(window(valkey, apikey, "tok:3600:a"), "u", 1)
    assert differences() == [(f"window k{apikey.pk}.0:tok:3600:a: used", 1, 120)]


def test_a_window_that_was_reset_agrees(exchange, apikey, django_capture_on_commit_callbacks):
    exchange(apikey).admitted().settled()
    ledger.drain()
    with django_capture_on_commit_callbacks(execute=True):
        budget_reset(budget=apikey.budgets.get(unit="tok"), acting_user=None)
    assert differences() == []
    exchange(apikey).admitted().settled(tokens=7)
    assert differences() == []


def test_a_bucket_that_was_tampered_with_is_told(exchange, apikey, valkey):
    exchange(apikey).admitted().settled(tokens=120)
    ledger.drain()
    key = window(valkey, apikey, "tok:18000")
    bucket = only_bucket(valkey, key)
    valkey.hincrby(key, bucket, 5)
    where = f"window k{apikey.pk}.0:tok:18000: bucket {bucket[1:]}"
    assert differences() == [(where, 125, 120)]


def test_a_charge_missing_from_a_window_is_told(exchange, apikey, valkey):
    exchange(apikey).admitted().settled(nanousd=9)
    ledger.drain()
    key = window(valkey, apikey, "usd:86400")
    bucket = only_bucket(valkey, key)
    valkey.hdel(key, bucket)
    where = f"window k{apikey.pk}.0:usd:86400: bucket {bucket[1:]}"
    assert differences() == [(where, 0, 9)]


def test_requests_missing_from_a_window_are_told(exchange, apikey, valkey):
    exchange(apikey).admitted().settled()
    key = window(valkey, apikey, "req:60")
    valkey.hdel(key, only_bucket(valkey, key))
    assert differences() == [(f"window k{apikey.pk}.0:req:60: requests", 0, 1)]


def test_a_roll_up_that_is_no_sum_is_told_column_by_column(exchange, apikey):
    exchange(apikey).admitted().settled()
    ledger.drain()
    HourlyRollup.objects.update(requests=2, cost_nanousd=0)
    (requests, stored, expected), cost = differences()
    assert requests.startswith("roll-up 20")
    assert requests.endswith(f"key {apikey.pk} team - claude-haiku-4-5: requests")
    assert (stored, expected) == (2, 1)
    assert cost[1:] == (0, 200_000)


@pytest.mark.parametrize("column", ["cache_hits", "cache_misses", "saved_tokens", "saved_nanousd"])
def test_a_roll_up_that_counts_other_hits_or_savings_shows(exchange, apikey, column):
    exchange(apikey).admitted().settled()
    ledger.drain()
    expected = getattr(HourlyRollup.objects.get(), column)
    HourlyRollup.objects.update(**{column: 7})
    ((where, *amounts),) = differences()
    assert where.endswith(f": {column}")
    assert amounts == [7, expected]


@pytest.mark.parametrize("model", [HourlyRollup, LedgerEntry], ids=["roll-up", "ledger"])
def test_a_missing_row_is_told(exchange, apikey, model):
    exchange(apikey).admitted().settled()
    ledger.drain()
    model.objects.all().delete()
    assert differences()


def test_windows_left_behind_by_a_change_of_team_are_skipped(exchange, apikey):
    exchange(apikey).admitted().settled()
    apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=None)
    report = verify()
    assert (report.windows, report.windows_skipped) == (0, 3)


def test_windows_without_a_budget_are_skipped(exchange, apikey):
    exchange(apikey).admitted().settled()
    budget_remove(budget=apikey.budgets.get(unit="tok"), acting_user=None)
    report = verify()
    assert (report.windows, report.windows_skipped, report.differences) == (2, 1, ())


@pytest.mark.parametrize(
    "bad", [{"o": "{"}, {"o": '{"exchange_id": 7}'}, {"t": "noon"}, {"c": "[]"}]
)
def test_events_that_will_be_dead_letters_count_nowhere(exchange, apikey, valkey, bad):
    done = exchange(apikey).admitted().settled()
    fields = {"x": "-", "t": 1, "o": encode_opening(done.opening), "c": "", "k": "", "w": ""}
    append_fields(valkey, fields | bad, shard=done.policy.shard)
    assert differences() == []


def test_agreement_exits_with_0_and_says_what_was_compared(exchange, apikey):
    exchange(apikey).admitted().settled()
    ledger.drain()
    written = StringIO()
    call_command("ledger_verify", stdout=written)
    assert written.getvalue() == (
        "Compared 1 hourly roll-ups and 3 windows (0 out of use) with 1 ledger entries:"
        " 0 differences, 0 dead letters.\n"
    )


def test_a_difference_is_a_line_and_exit_code_1(exchange, apikey):
    exchange(apikey).admitted().settled()
    ledger.drain()
    HourlyRollup.objects.update(requests=1_002)
    written = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("ledger_verify", stdout=written)
    assert ended.value.code == 1
    assert "requests 1,002, ledger 1\n" in written.getvalue()


def test_json_has_counts_and_differences(exchange, apikey):
    exchange(apikey).admitted().settled()
    ledger.drain()
    HourlyRollup.objects.update(requests=2)
    written = StringIO()
    with pytest.raises(SystemExit):
        call_command("ledger_verify", "--json", stdout=written)
    report = json.loads(written.getvalue())
    assert (report["entries"], report["windows"]) == (1, 3)
    (difference,) = report["differences"]
    assert (difference["stored"], difference["ledger"]) == (2, 1)


def test_more_windows_than_are_read_at_once_agree(exchange, valkey):
    apikey = a_key(budgets=(), rpm=None)
    Budget.objects.bulk_create(
        Budget(apikey=apikey, unit="tok", window_s=60 * number, limit_amount=10**9)
        for number in range(1, WINDOWS_AT_ONCE + 6)
    )
    exchange(apikey).admitted().settled()
    report = verify()
    assert (report.windows, report.differences) == (WINDOWS_AT_ONCE + 5, ())
