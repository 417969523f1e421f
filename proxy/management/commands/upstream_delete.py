"""`manage.py upstream_delete NAME`: delete an upstream account with its credential."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from proxy.management import arguments
from proxy.services import upstream_delete


class Command(BaseCommand):
    """Deletes an account; the ledger keeps its name."""

    help = "Delete an upstream account with its credential. Exchanges in flight finish."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def handle(self, *_args: Any, **options: Any) -> None:
        account = arguments.account_called(options["name"])
        upstream_delete(account=account, acting_user=None)
        self.stdout.write(f"Deleted upstream account {options['name']}.")
