"""`manage.py ledger_verify`: prove that roll-ups and Valkey's windows agree with the ledger."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from usage.verify import Report, verify


class Command(BaseCommand):
    """Prints one line for each difference and ends with exit code 1 if there is any."""

    help = (
        "Compare hourly roll-ups and Valkey's windows with the ledger; exit code 1 on any"
        " difference. Exchanges that settle meanwhile can show as one: then run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        report = verify()
        self.stdout.write(json.dumps(asdict(report)) if options["json"] else _text(report))
        if report.differences:
            raise SystemExit(1)


def _text(report: Report) -> str:
    lines = [
        f"{difference.where} {difference.stored:,}, ledger {difference.ledger:,}"
        for difference in report.differences
    ]
    lines.append(
        f"Compared {report.rollups:,} hourly roll-ups and {report.windows:,} windows"
        f" ({report.windows_skipped:,} out of use) with {report.entries:,} ledger entries:"
        f" {len(report.differences):,} differences, {report.dead_letters:,} dead letters."
    )
    return "\n".join(lines)
