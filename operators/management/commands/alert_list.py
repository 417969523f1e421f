"""`manage.py alert_list`: what needs attention now, and what did."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from operators.alerts.models import KINDS, Alert

SHOWN_MAX = 200
FIELDS = (
    "id",
    "kind",
    "subject_type",
    "subject_id",
    "subject_name",
    "threshold",
    "text",
    "raised_at",
    "resolved_at",
)


class Command(BaseCommand):
    """Lists alerts, the newest first."""

    help = f"List the alerts that are open, the newest first, {SHOWN_MAX} at most."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="those that are over too")
        parser.add_argument("--kind", choices=[kind for kind, _label in KINDS])
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = Alert.objects.order_by("-pk")
        if not options["all"]:
            rows = rows.filter(resolved_at=None)
        if options["kind"]:
            rows = rows.filter(kind=options["kind"])
        for row in rows[:SHOWN_MAX]:
            self.stdout.write(_json(row) if options["json"] else _line(row))


def _line(row: Alert) -> str:
    over = f", over {row.resolved_at:%Y-%m-%d %H:%M}" if row.resolved_at else ""
    return f"{row.pk} {row.kind}: {row.text} (since {row.raised_at:%Y-%m-%d %H:%M}{over} UTC)"


def _json(row: Alert) -> str:
    return json.dumps({field: getattr(row, field) for field in FIELDS}, default=str)
