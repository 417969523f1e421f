"""`manage.py ledger_export`: write the ledger to standard output, row by row."""

import csv
import datetime as dt
import os
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from keys.management import arguments
from keys.models import ApiKey
from usage.core.export import csv_cell, json_line
from usage.models import LedgerEntry

COLUMNS = tuple(field.attname for field in LedgerEntry._meta.concrete_fields)
# Rows that the cursor on the server hands over at once: a megabyte or two.
ROWS_AT_ONCE = 2_000


class Command(BaseCommand):
    """Streams through a cursor on the server: memory stays the same however long the ledger is."""

    help = "Write ledger entries to standard output, oldest first, with all their columns."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", required=True, choices=("jsonl", "csv"))
        parser.add_argument(
            "--since",
            type=arguments.moment,
            metavar="ISO",
            help="settled at or after this, such as 2027-01-31; UTC if it does not say",
        )
        parser.add_argument("--key", metavar="PREFIX", help="only keys with this prefix")

    def handle(self, *_args: Any, **options: Any) -> None:
        entries = _entries(options["since"], options["key"])
        write = self._write_csv if options["format"] == "csv" else self._write_jsonl
        try:
            # In a transaction the cursor reads as it goes; outside, Postgres copies it all first.
            with transaction.atomic():
                write(entries.values_list(*COLUMNS).iterator(chunk_size=ROWS_AT_ONCE))
            self.stdout.flush()
        except BrokenPipeError:
            # `ledger_export | head` is no error; and Python must not flush to nobody at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _write_jsonl(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.stdout.write(json_line(COLUMNS, row))

    def _write_csv(self, rows: Iterable[tuple[Any, ...]]) -> None:
        writer = csv.writer(self.stdout)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([csv_cell(value) for value in row])


def _entries(since: dt.datetime | None, prefix: str | None) -> QuerySet[LedgerEntry]:
    entries = LedgerEntry.objects.order_by("settled_at", "exchange_id")
    if since is not None:
        entries = entries.filter(settled_at__gte=since)
    if prefix is not None:
        apikey_ids = list(ApiKey.objects.filter(prefix=prefix).values_list("pk", flat=True))
        if not apikey_ids:
            raise CommandError(f"No key has the prefix '{prefix}', as in sk-cc-AbC123.")
        entries = entries.filter(apikey__in=apikey_ids)
    return entries
