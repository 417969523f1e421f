"""`manage.py upstream_add NAME`: add an upstream account."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import sentence
from proxy.accounts import ANTHROPIC
from proxy.management import arguments
from proxy.services import upstream_add


class Command(BaseCommand):
    """Adds an account, in use at once unless told otherwise."""

    help = (
        "Add an upstream account. Its credential is asked for, or read from standard input:"
        " printenv NAME | manage.py upstream_add second"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--base-url", default=ANTHROPIC, metavar="URL", help=f"default: {ANTHROPIC}"
        )
        parser.add_argument(
            "--no-credential", action="store_true", help="for a proxy that adds its own"
        )
        parser.add_argument("--disabled", action="store_true", help="do not use it yet")
        arguments.add_fields(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        credential = "" if options["no_credential"] else arguments.read_credential()
        fields: dict[str, Any] = arguments.fields(options)
        try:
            account = upstream_add(
                name=options["name"],
                base_url=options["base_url"],
                credential=credential,
                enabled=not options["disabled"],
                acting_user=None,
                **fields,
            )
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        self.stdout.write(
            f"Added upstream account {account.name}. Test it: manage.py upstream_test"
            f" '{account.name}'"
        )
