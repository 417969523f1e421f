"""`manage.py upstream_set NAME`: change an upstream account."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import sentence
from proxy.management import arguments
from proxy.services import upstream_update


class Command(BaseCommand):
    """Changes what is given and leaves the rest."""

    help = "Change an upstream account: what is given, and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--enable", action="store_true", help="send to it again")
        switch.add_argument("--disable", action="store_true", help="send nothing more to it")
        parser.add_argument("--rename", metavar="NAME", help="the new name")
        parser.add_argument("--base-url", metavar="URL", help="the new address")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument(
            "--credential", action="store_true", help="ask for a new one, or read standard input"
        )
        secret.add_argument("--no-credential", action="store_true", help="send none")
        arguments.add_fields(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        account = arguments.account_called(options["name"])
        changes: Any = arguments.fields(options) | _named(options)
        credential = arguments.read_credential() if options["credential"] else None
        try:
            upstream_update(
                account=account,
                changes=changes,
                credential="" if options["no_credential"] else credential,
                acting_user=None,
            )
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        self.stdout.write(f"Upstream account {changes.get('name', account.name)} is as you say.")


def _named(options: dict[str, Any]) -> dict[str, Any]:
    named = {"name": options["rename"], "base_url": options["base_url"]}
    changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if options["enable"] or options["disable"]:
        changes["enabled"] = options["enable"]
    return changes
