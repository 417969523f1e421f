"""What leaves the ledger when it is old, and that roll-ups, windows and proofs stay whole."""

import datetime as dt
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.models import AuditEvent
from keys.services import team_update
from tests.factories import a_key, a_team, an_operator
from tests.integration.usage.test_partitions import names, spend
from tests.ledger_events import a_closing, an_opening, append_event, append_fields
from usage import catching_up, ledger, retention
from usage.core.partition import FIRST, month_after, month_of, name_of
from usage.models import (
    DeadLetter,
    GroupRollup,
    HourlyRollup,
    KeyRollup,
    LedgerEntry,
    LedgerFloor,
)
from usage.partitions import Busy, make_ahead
from usage.rolling import TABLES
from usage.upkeep import Upkeep
from usage.verify import verify

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
# Months that have partitions: the one of now, which is old at LATER, and the two after it.
OLD = month_of(NOW) + 2 * DAY
NEXT = month_after(OLD) + 2 * DAY
LAST = month_after(NEXT) + 2 * DAY
KEEP_DAYS = 32
LATER = month_after(OLD) + (KEEP_DAYS + 1) * DAY


@pytest.fixture(autouse=True)
def keep_days(settings):
    settings.LEDGER_KEEP_DAYS = KEEP_DAYS


def rolled_up():
    """Return every row of every roll-up."""
    found = {}
    with connection.cursor() as cursor:
        for name in ("usage_hourlyrollup", *(table.name for table in TABLES)):
            cursor.execute(f"SELECT to_jsonb(r) - 'id' FROM {name} AS r")
            found[name] = sorted(row[0] for row in cursor.fetchall())
    return found


def whose():
    """Return the teams of the entries that are left, by month."""
    entries = LedgerEntry.objects.order_by("admitted_at", "team_id")
    return [(f"{at:%Y-%m}", team) for at, team in entries.values_list("admitted_at", "team_id")]


def audited(action):
    return AuditEvent.objects.filter(action=action)


@pytest.fixture
def three_months(db, valkey):
    """Two entries of a team and one without in each of three months."""
    team = a_team()
    for moment in (OLD, NEXT, LAST):
        for number, team_id in enumerate((team.pk, team.pk, None)):
            spend(valkey, moment, number, team_id=team_id)
    return team


def test_a_month_is_dropped_and_roll_ups_keep_it(three_months, valkey):
    before = rolled_up()
    assert retention.step(60, LATER) is False
    assert name_of(OLD) not in names()
    assert LedgerEntry.objects.count() == 6
    assert rolled_up() == before
    assert verify(valkey).differences == ()
    assert [event.detail["partition"] for event in audited("ledger.drop")] == [name_of(OLD), FIRST]
    event = audited("ledger.drop")[0]
    assert (event.detail["partition"], event.detail["entries"]) == (name_of(OLD), 3)


def test_the_list_of_exchanges_says_since_when_it_is_kept(three_months, client):
    client.force_login(an_operator())
    page = reverse("admin:usage_ledgerentry_changelist")
    assert "Kept since" not in client.get(page).content.decode()
    retention.step(60, LATER)
    assert f"Kept since {OLD:%Y-%m-%d}" in client.get(page).content.decode()


def test_nothing_goes_before_its_month_is_old_enough(three_months):
    assert retention.step(60, month_after(OLD) + (KEEP_DAYS - 1) * DAY) is False
    assert LedgerEntry.objects.count() == 9


def test_nothing_goes_of_a_ledger_that_is_kept_for_ever(three_months, settings):
    settings.LEDGER_KEEP_DAYS = 0
    retention.step(60, LATER + 5_000 * DAY)
    assert LedgerEntry.objects.count() == 9


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda: HourlyRollup.objects.filter(hour__gt=NEXT - DAY), id="hourly"),
        pytest.param(lambda: KeyRollup.objects.filter(at__gt=NEXT - 3 * DAY), id="keys"),
        pytest.param(lambda: GroupRollup.objects.filter(at__gt=NEXT - DAY), id="groups"),
    ],
)
def test_what_is_wrong_later_is_found_after_a_drop(three_months, valkey, damage):
    retention.step(60, LATER)
    damage().update(requests=F("requests") + 1)
    table = damage().model._meta.db_table
    found = {difference.where.split()[0] for difference in verify(valkey).differences}
    assert found == {"roll-up" if table == "usage_hourlyrollup" else table}


def test_an_entry_that_is_missing_later_is_found_after_a_drop(three_months, valkey):
    retention.step(60, LATER)
    with connection.cursor() as cursor:
        # By the name of its partition: no trigger tells the roll-ups.
        cursor.execute(f"DELETE FROM {name_of(LAST)} WHERE team_id IS NULL")
    assert verify(valkey).differences


def test_roll_ups_can_be_built_again_after_a_drop(three_months, valkey):
    # Admitted in the month that goes, settled in the one that stays.
    end = month_after(OLD) - dt.timedelta(milliseconds=600)
    spend(valkey, end, team_id=three_months.pk)
    before = rolled_up()
    retention.step(60, LATER)
    assert LedgerFloor.objects.get(team_id=three_months.pk).settled_at > month_after(OLD)
    catching_up.rebuild()
    catching_up.tend()
    assert rolled_up() == before
    assert verify(valkey).differences == ()


def test_notes_that_nobody_folded_survive_a_rebuild(three_months, valkey):
    retention.step(60, LATER)
    before = rolled_up()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM usage_ledgerentry WHERE admitted_at > '{NEXT + DAY}'")
    catching_up.rebuild()
    catching_up.tend()
    assert rolled_up() != before
    found = [each for each in verify(valkey).differences if each.where.startswith("usage_")]
    assert found == []


def test_nothing_goes_while_old_entries_are_being_added(three_months):
    catching_up.rebuild()
    with pytest.raises(Busy):
        retention.step(60, LATER)
    assert LedgerEntry.objects.count() == 9


def test_a_legal_hold_keeps_a_teams_entries_and_nobody_elses(three_months, valkey):
    team_update(team=three_months, changes={"legal_hold": "case 7"}, acting_user=None)
    before = rolled_up()
    retention.step(60, LATER)
    assert name_of(OLD) in names()
    held = (f"{OLD:%Y-%m}", three_months.pk)
    assert [found for found in whose() if found[0] == held[0]] == [held, held]
    assert (rolled_up(), verify(valkey).differences) == (before, ())
    (event,) = audited("ledger.empty")
    assert (event.detail["entries"], event.detail["teams"]) == (1, [0])
    # The hold ends, and the rest goes.
    team_update(team=three_months, changes={"legal_hold": ""}, acting_user=None)
    retention.step(60, LATER)
    assert name_of(OLD) not in names()
    assert (rolled_up(), verify(valkey).differences) == (before, ())


def test_what_a_hold_keeps_is_still_compared(three_months, valkey):
    team_update(team=three_months, changes={"legal_hold": "case 7"}, acting_user=None)
    retention.step(60, LATER)
    held = KeyRollup.objects.filter(at__lt=OLD + DAY, team_id=three_months.pk)
    held.update(requests=F("requests") + 1)
    assert {d.where.split()[0] for d in verify(valkey).differences} == {"usage_keyrollup"}


def test_a_team_with_shorter_days_loses_its_entries_alone(three_months, valkey, settings):
    settings.LEDGER_KEEP_DAYS = 0
    team_update(team=three_months, changes={"ledger_keep_days": 32}, acting_user=None)
    before = rolled_up()
    retention.step(60, LATER)
    assert whose()[0] == (f"{OLD:%Y-%m}", None)
    assert LedgerEntry.objects.count() == 7
    assert (rolled_up(), verify(valkey).differences) == (before, ())


def test_a_team_with_longer_days_keeps_its_entries(three_months):
    team_update(team=three_months, changes={"ledger_keep_days": 400}, acting_user=None)
    retention.step(60, LATER)
    assert [team for month, team in whose() if month == f"{OLD:%Y-%m}"] == [three_months.pk] * 2


@pytest.mark.parametrize("days", [0, 31])
def test_a_team_cannot_ask_for_less_than_a_month(db, days):
    with pytest.raises(Exception, match="32"):
        a_team(ledger_keep_days=days)


def test_days_are_stretched_to_the_longest_window_that_counts_them(db, valkey):
    team, other = a_team(), a_team()
    yearly = BudgetSpec(Unit.TOKENS, window_s=366 * 86_400, limit=10**6)
    apikey = a_key(team=team, budgets=[yearly])
    spend(valkey, OLD, 1, apikey_id=apikey.pk, team_id=team.pk)
    # Of a time when the key was in another team.
    spend(valkey, OLD, 2, apikey_id=apikey.pk, team_id=other.pk)
    spend(valkey, OLD, 3, apikey_id=a_key().pk)
    retention.step(60, LATER)
    assert {team_id for _month, team_id in whose()} == {team.pk, other.pk}
    retention.step(60, LATER + 400 * DAY)
    assert whose() == []


def test_an_id_that_lies_about_its_time_stays_as_long_as_its_settlement_says(db, valkey):
    opening = an_opening(exchange_id=f"{int(OLD.timestamp() * 1000):012x}" + "0" * 20)
    append_event(valkey, opening, a_closing(), charged_at_ms=int(LATER.timestamp() * 1000))
    ledger.drain()
    spend(valkey, OLD, 7)
    retention.step(60, LATER)
    assert LedgerEntry.objects.get().request_id == f"req_{opening.exchange_id}"


def test_whoever_reads_for_long_is_not_disturbed(transactional_db, valkey):
    spend(valkey, OLD)
    reading, read = threading.Event(), threading.Event()

    def export():
        with transaction.atomic():
            list(LedgerEntry.objects.all()[:1])
            reading.set()
            read.wait(60)
        connection.close()

    reader = threading.Thread(target=export)
    reader.start()
    reading.wait(60)
    try:
        with pytest.raises(Busy):
            retention.step(60, LATER)
        spend(valkey, NEXT)
        assert LedgerEntry.objects.count() == 2
        assert not audited("ledger.drop").exists()
        assert not LedgerFloor.objects.exists()
    finally:
        read.set()
        reader.join()
    retention.step(60, LATER)
    assert LedgerEntry.objects.count() == 1
    LedgerEntry.objects.all().delete()
    make_ahead()


def test_batches_end_when_time_is_up_and_go_on_later(three_months, settings):
    settings.LEDGER_KEEP_DAYS = 0
    team_update(team=three_months, changes={"ledger_keep_days": 32}, acting_user=None)
    assert retention.step(0, LATER, batch=1) is True
    assert LedgerEntry.objects.count() == 8
    assert retention.step(60, LATER, batch=1) is False
    assert LedgerEntry.objects.count() == 7


def test_dead_letters_go_unless_something_is_held(db, valkey):
    append_fields(valkey, {"x": "no event"})
    ledger.drain()
    team = a_team(legal_hold="case 7")
    retention.step(60, timezone.now() + 33 * DAY)
    assert DeadLetter.objects.count() == 1
    team_update(team=team, changes={"legal_hold": ""}, acting_user=None)
    retention.step(60, timezone.now() + 33 * DAY)
    assert DeadLetter.objects.count() == 0
    assert audited("deadletter.drop").get().detail == {"letters": 1}


def test_a_worker_drops_by_itself(db, valkey):
    long_ago = NOW - 400 * DAY
    spend(valkey, long_ago)
    spend(valkey, NOW)
    Upkeep().tend()
    assert LedgerEntry.objects.get().admitted_at > long_ago + DAY
    assert verify(valkey).differences == ()


def test_the_command_says_what_it_would_do_and_does_it(db, valkey):
    spend(valkey, NOW - 400 * DAY)
    out = StringIO()
    call_command("ledger_partitions", "drop", "--dry-run", stdout=out)
    assert "usage_ledgerentry_first: some, 1 entries" in out.getvalue()
    assert LedgerEntry.objects.count() == 1
    call_command("ledger_partitions", "drop", stdout=out)
    assert LedgerEntry.objects.count() == 0
    call_command("ledger_partitions", "make", stdout=out)
    assert "nothing: all months are there" in out.getvalue()
    out = StringIO()
    call_command("ledger_partitions", "list", stdout=out)
    assert name_of(NOW) in out.getvalue()
    assert "were dropped" in out.getvalue()


def test_the_command_says_when_it_cannot(db):
    catching_up.Backfill.objects.create(exchange_id="0" * 32)
    with pytest.raises(CommandError, match="in use"):
        call_command("ledger_partitions", "drop", stdout=StringIO())
