"""`manage.py upstream_test [NAME ...]`: make a free call to accounts and say what came back."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxy.accounts import stands_aside
from proxy.management import arguments
from proxy.models import UpstreamAccount
from proxy.trial import upstream_test


class Command(BaseCommand):
    """Tests the accounts named, all that should serve if none is; fails if one of them does."""

    help = (
        "List the models of upstream accounts, which costs nothing, and say what came back."
        " A success lifts a suspension."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="default: all that are enabled and do not stand aside",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = [arguments.account_called(name) for name in options["names"]]
        rows = rows or _serving()
        if not rows:
            raise CommandError(
                "There is no upstream account. Make one: manage.py upstream_add NAME"
            )
        results = upstream_test(rows=rows, acting_user=None)
        for row, result in zip(rows, results, strict=True):
            self.stdout.write(f"{row.name}: {result}")
        failed = sum(bool(result.trouble) for result in results)
        if failed:
            raise CommandError(f"Not in order: {failed} of {len(rows)}.")


def _serving() -> list[UpstreamAccount]:
    enabled = list(UpstreamAccount.objects.filter(enabled=True))
    return [row for row in enabled if not stands_aside(row, enabled)]
