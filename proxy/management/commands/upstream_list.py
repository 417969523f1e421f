"""`manage.py upstream_list`: the upstream accounts and how each of them stands."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from proxy.models import UpstreamAccount
from proxy.standing import Standing, address, credential_shown, standings


class Command(BaseCommand):
    """Lists accounts in the order they are asked."""

    help = "List the upstream accounts and how each of them stands."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON array")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = list(UpstreamAccount.objects.all())
        stands = standings(rows)
        if options["json"]:
            self.stdout.write(json.dumps([_fields(row, stands[row.pk]) for row in rows]))
            return
        if not rows:
            self.stdout.write("No upstream account is stored: the environment's is used, if any.")
        for row in rows:
            self.stdout.write(_line(row, stands[row.pk]))


def _line(row: UpstreamAccount, standing: Standing) -> str:
    models = ", ".join(row.models) or "all models"
    return (
        f"{row.name}: {standing}\n"
        f"    {address(row)}, {credential_shown(row)}\n"
        f"    priority {row.priority}, weight {row.weight}, {models}"
    )


def _fields(row: UpstreamAccount, standing: Standing) -> dict[str, Any]:
    return {
        "name": row.name,
        "address": address(row),
        "credential": credential_shown(row),
        "priority": row.priority,
        "weight": row.weight,
        "concurrency": row.concurrency,
        "rpm": row.rpm,
        "models": row.models,
        "enabled": row.enabled,
        "state": standing.state.value,
        "reason": standing.reason,
    }
