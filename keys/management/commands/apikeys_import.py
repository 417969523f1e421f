"""`manage.py apikeys_import`: issue the keys of a CSV file, all of them or none."""

import csv
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.core.table import BYTES_MAX, COLUMNS, ROWS_MAX, BadTable, read
from keys.transfer import Imported, apikeys_import


class Command(BaseCommand):
    """Imports keys and prints their secrets, once."""

    help = (
        f"Issue the keys of a CSV file, at most {ROWS_MAX:,}, all of them or none, and write them"
        f" with their secrets, this once. The first line names columns: {', '.join(COLUMNS)}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a CSV file in UTF-8")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be issued, and issue nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            rows = read(_text(options["file"]))
            issued = apikeys_import(rows=rows, acting_user=None, dry_run=options["dry_run"])
        except BadTable as error:
            raise CommandError(f"Nothing was issued.\n{error}") from error
        if options["dry_run"]:
            self.stdout.write(f"Nothing was issued. These would be, {len(issued)} in all:")
        self._write(issued, secrets=not options["dry_run"])

    def _write(self, issued: list[Imported], *, secrets: bool) -> None:
        writer = csv.writer(self.stdout, lineterminator="\n")
        writer.writerow(
            ["line", "name", "team", "plan", *(["prefix", "secret"] if secrets else [])]
        )
        for each in issued:
            apikey = each.apikey
            shown = [apikey.prefix, each.secret.text] if secrets else []
            writer.writerow([each.line, apikey.name, apikey.team or "", apikey.plan or "", *shown])


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise CommandError(f"{path} is larger than {BYTES_MAX:,} bytes.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
