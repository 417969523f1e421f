"""`manage.py operatortoken_issue`: make a token for the management API and print it, once."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.api.scopes import SCOPES
from keys.api.tokens import operatortoken_issue
from keys.management import arguments


class Command(BaseCommand):
    """Issues a token that belongs to nobody: it is worth all of its scopes until it ends."""

    help = "Make an operator token for the management API and print its secret, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="what the audit trail will call it")
        parser.add_argument(
            "--scopes",
            required=True,
            type=arguments.comma_list,
            metavar="S,S",
            help=f"such as keys:read,teams:* ('*' is all): {', '.join(SCOPES)}",
        )
        parser.add_argument(
            "--expires",
            type=arguments.moment,
            metavar="ISO",
            help="such as 2027-01-31 or 2027-01-31T18:00:00+01:00; UTC if it does not say",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            token, secret = operatortoken_issue(
                name=options["name"],
                scopes=options["scopes"],
                expires_at=options["expires"],
                acting_user=None,
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        until = f"{token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "revoked"
        self.stdout.write(
            f"Issued operator token {token.pk}, {token.name}, until {until}."
            f" Its secret is shown this once:\n\n    {secret.text}\n\n"
            f"Scopes: {', '.join(token.scopes)}."
        )
