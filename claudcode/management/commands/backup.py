"""`manage.py backup FILE`: everything of this installation in one file, while it runs."""

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from claudcode.backup.archive import BackupError
from claudcode.backup.taking import backup


class Command(BaseCommand):
    """Writes the file whole or not at all, readable by its owner alone."""

    help = (
        "Back up Postgres, and of Valkey the exchanges in flight and the events that the ledger"
        " may not have yet. Secrets in the file stay sealed: keep CLAUDCODE_CREDENTIAL_KEYS apart."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="where to; - is standard output")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            made = backup(options["file"])
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        instant = dt.datetime.fromtimestamp(made.taken_at_ms / 1000, dt.UTC)
        # Not to standard output, which may be the backup.
        self.stderr.write(
            f"Backed up as of {instant:%Y-%m-%d %H:%M:%S} UTC: {made.leases:,} exchanges in flight,"
            f" {made.events:,} events, {made.sealed:,} sealed secrets."
        )
