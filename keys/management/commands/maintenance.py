"""`manage.py maintenance on|off`: close the gateway with a message, or open it again."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.services import maintenance_set


class Command(BaseCommand):
    """Switches maintenance mode; gateways obey within a second, exchanges in flight finish."""

    help = (
        "Switch maintenance mode: within a second everything under /v1 answers 503, but for keys"
        " that are let through (apikey_issue --during-maintenance, or the key's page). Exchanges"
        " in flight finish."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("state", choices=("on", "off"))
        parser.add_argument("--message", help="what clients read (default: as before)")
        parser.add_argument(
            "--retry-after",
            type=int,
            metavar="SECONDS",
            help="when clients are told to come back (default: as before)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            maintenance = maintenance_set(
                enabled=options["state"] == "on",
                acting_user=None,
                message=options["message"],
                retry_after_s=options["retry_after"],
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"{maintenance}.")
