"""`manage.py audit_export`: write the audit trail to standard output, row by row."""

import csv
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from keys.core.table import cell
from keys.management import arguments
from keys.models import AuditEvent

COLUMNS = tuple(field.attname for field in AuditEvent._meta.concrete_fields)
# Rows that the cursor on the server hands over at once.
ROWS_AT_ONCE = 2_000


class Command(BaseCommand):
    """Streams through a cursor on the server: memory stays the same however long the trail is."""

    help = "Write the audit trail to standard output, oldest first. No secret is in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", required=True, choices=("jsonl", "csv"))
        for option, meaning in (("--since", "at or after this"), ("--until", "before this")):
            parser.add_argument(
                option,
                type=arguments.moment,
                metavar="ISO",
                help=f"{meaning}, such as 2027-01-31; UTC if it does not say",
            )
        parser.add_argument("--action", help="one kind of change alone, such as apikey.revoke")

    def handle(self, *_args: Any, **options: Any) -> None:
        named = {"since": "at__gte", "until": "at__lt", "action": "action"}
        asked = {field: options[name] for name, field in named.items() if options[name]}
        events = AuditEvent.objects.filter(**asked).order_by("pk").values_list(*COLUMNS)
        write = self._write_csv if options["format"] == "csv" else self._write_jsonl
        try:
            # In a transaction the cursor reads as it goes; outside, Postgres copies it all first.
            with transaction.atomic():
                write(events.iterator(chunk_size=ROWS_AT_ONCE))
            self.stdout.flush()
        except BrokenPipeError:
            # `audit_export | head` is no error; and Python must not flush to nobody at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _write_jsonl(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            said = dict(zip(COLUMNS, row, strict=True))
            self.stdout.write(json.dumps(said, cls=DjangoJSONEncoder))

    def _write_csv(self, rows: Iterable[tuple[Any, ...]]) -> None:
        writer = csv.writer(self.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([cell(_text(value)) for value in row])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, cls=DjangoJSONEncoder)
    if value is None:
        return ""
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
