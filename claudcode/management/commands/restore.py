"""`manage.py restore FILE`: make an empty installation what a backup says."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from claudcode.backup.archive import BackupError
from claudcode.backup.restoring import restore


class Command(BaseCommand):
    """Checks the file, the keys and the stores before it touches anything."""

    help = "Restore a backup into empty stores, with gateways, worker and beat stopped."
    # The tables that system checks may ask for are not there yet.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument(
            "--force", action="store_true", help="drop what is in both stores first"
        )
        parser.add_argument(
            "--without-keys",
            action="store_true",
            help="go on without the keys that sealed the secrets, which are lost then",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            done = restore(
                options["file"], force=options["force"], without_keys=options["without_keys"]
            )
        except (BackupError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Restored: {done.entries:,} ledger entries; {done.abandoned:,} exchanges were in"
            " flight and are abandoned. Now run `manage.py ledger_verify`."
        )
