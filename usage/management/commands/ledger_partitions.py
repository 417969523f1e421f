"""`manage.py ledger_partitions list|make|drop`: the ledger's months, and what retention does."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from usage.core.partition import Partition
from usage.partitions import Busy, make_ahead, missing_months, partitions
from usage.retention import due, kept_since, step

# Nobody waits for a command but who typed it.
SECONDS_MAX = 24 * 3_600.0


class Command(BaseCommand):
    """Workers do all of this by themselves; here it can be seen, and done at once."""

    help = (
        "The partitions of the ledger: list them, make the months ahead, or drop what is older"
        " than CLAUDCODE_LEDGER_KEEP_DAYS and the teams' own days say. Sums are kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=("list", "make", "drop"))
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        act = {"list": self._list, "make": self._make, "drop": self._drop}[options["verb"]]
        try:
            act(options["dry_run"])
        except Busy as error:
            raise CommandError(
                "The ledger is in use: an export, a backup, another worker, or old entries that"
                " are still being added to roll-ups. Try again later; workers do so by themselves."
            ) from error

    def _list(self, _dry_run: bool) -> None:
        for partition in partitions():
            self.stdout.write(
                f"{partition.name:32} {_date(partition):12} about {partition.rows:>12,} entries"
                f" {_size(partition):>10}"
            )
        days = settings.LEDGER_KEEP_DAYS
        self.stdout.write(f"Kept for {days} days." if days else "Kept for ever.")
        if since := kept_since():
            self.stdout.write(f"Some entries up to {since:%Y-%m-%d %H:%M} UTC were dropped.")

    def _make(self, dry_run: bool) -> None:
        if dry_run:
            missing = missing_months(timezone.now(), settings.LEDGER_MONTHS_AHEAD)
            made = [f"{month:%Y-%m}" for month in missing]
        else:
            made = make_ahead()
        said = "Would make" if dry_run else "Made"
        self.stdout.write(f"{said} {', '.join(made) or 'nothing: all months are there'}.")

    def _drop(self, dry_run: bool) -> None:
        found = due()
        for each in found:
            what = "all" if each.whole else "some"
            self.stdout.write(
                f"{each.partition.name}: {what}, {each.entries:,} entries,"
                f" {_size(each.partition)} on disk"
            )
        if dry_run:
            self.stdout.write(f"Would drop from {len(found)} partitions.")
            return
        step(SECONDS_MAX)
        self.stdout.write(f"Dropped from {len(found)} partitions. Sums are kept.")


def _size(partition: Partition) -> str:
    return filesizeformat(partition.size_bytes).replace("\xa0", " ")


def _date(partition: Partition) -> str:
    if partition.ends_at is None:
        return "the rest"
    return f"to {partition.ends_at - dt.timedelta(days=1):%Y-%m-%d}"
