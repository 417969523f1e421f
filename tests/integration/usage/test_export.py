import csv
import json
import os
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.factories import a_key
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.models import LedgerEntry


@pytest.fixture
def settled(db, valkey):
    """Settle one exchange and drain it."""

    def settle(after_s=0, **fields):
        opening = an_opening(**fields)
        append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS + after_s * 1000)
        ledger.drain()
        return opening

    return settle


def export(*arguments):
    written = StringIO()
    call_command("ledger_export", *arguments, stdout=written)
    return written.getvalue()


def exported_ids(*arguments):
    return [json.loads(line)["exchange_id"] for line in export(*arguments).splitlines()]


def test_jsonl_has_all_columns_oldest_first(settled):
    later = settled(after_s=1)
    sooner = settled(after_s=0)
    rows = [json.loads(line) for line in export("--format", "jsonl").splitlines()]
    assert [row["exchange_id"] for row in rows] == [sooner.exchange_id, later.exchange_id]
    assert rows[0].keys() == {field.attname for field in LedgerEntry._meta.fields}
    assert rows[0]["settled_at"] == "2026-03-01T12:30:00Z"
    assert rows[0]["cost_nanousd"] == 200_000


def test_csv_has_a_header_and_reads_back(settled):
    settled(client_agent='a "quoted", two-line\nagent')
    rows = list(csv.DictReader(StringIO(export("--format", "csv"), newline="")))
    assert len(rows) == 1
    assert rows[0].keys() == {field.attname for field in LedgerEntry._meta.fields}
    assert rows[0]["client_agent"] == 'a "quoted", two-line\nagent'
    assert (rows[0]["team_id"], rows[0]["streamed"]) == ("", "true")


def test_attempts_are_read_back_from_either_form(settled):
    settled()
    tried = [{"account": "default", "outcome": "answered", "milliseconds": 340}]
    assert json.loads(export("--format", "jsonl"))["attempts"] == tried
    (row,) = csv.DictReader(StringIO(export("--format", "csv"), newline=""))
    assert json.loads(row["attempts"]) == tried
    assert (row["cache"], row["saved_tokens"]) == ("miss", "0")


def test_csv_disarms_what_clients_wrote(settled):
    settled(client_agent='=HYPERLINK("http://192.0.2.1")')
    row = next(csv.DictReader(StringIO(export("--format", "csv"), newline="")))
    assert row["client_agent"] == '\'=HYPERLINK("http://192.0.2.1")'


def test_an_empty_ledger_is_an_empty_export(db):
    assert export("--format", "jsonl") == ""


@pytest.mark.parametrize(
    ("since", "count"),
    [
        pytest.param("2026-03-01T12:30:00Z", 2, id="the instant itself"),
        pytest.param("2026-03-01T12:30:01", 1, id="UTC if it does not say"),
        pytest.param("2026-03-01T14:30:01+02:00", 1, id="an offset"),
        pytest.param("2026-03-02", 0, id="a date"),
    ],
)
def test_since_leaves_out_what_was_settled_before(settled, since, count):
    settled(after_s=0)
    settled(after_s=5)
    assert len(exported_ids("--format", "jsonl", "--since", since)) == count


def test_a_prefix_picks_one_key(settled):
    apikey = a_key()
    mine = settled(apikey_id=apikey.pk)
    settled(apikey_id=apikey.pk + 1)
    assert exported_ids("--format", "jsonl", "--key", apikey.prefix) == [mine.exchange_id]


def test_an_unknown_prefix_is_an_error(db):
    with pytest.raises(CommandError, match="No key has the prefix 'sk-cc-none'"):
        export("--format", "jsonl", "--key", "sk-cc-none")


@pytest.mark.parametrize(
    "arguments", [(), ("--format", "xml"), ("--format", "csv", "--since", "noon")]
)
def test_wrong_arguments_are_errors(db, arguments):
    with pytest.raises(CommandError):
        export(*arguments)


def test_a_reader_that_leaves_is_no_error(database_url, valkey):
    for _ in range(1_000):  # More than a pipe holds.
        append_event(valkey, an_opening(), a_closing())
    ledger.drain()
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "ledger_export", "--format", "jsonl"],
        env=os.environ | {"DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(process.stdout.readline())
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 0
