"""`manage.py operatortoken_revoke`: refuse an operator token from now on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.api.models import OperatorToken
from keys.api.tokens import operatortoken_revoke


class Command(BaseCommand):
    """Revokes one token, found by its number or by the prefix that lists show."""

    help = "Refuse an operator token of the management API from the next request on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token", help="its number, or its prefix such as cc-op-AbC123")

    def handle(self, *_args: Any, **options: Any) -> None:
        said = options["token"]
        named = {"pk": int(said)} if said.isascii() and said.isdigit() else {"prefix": said}
        found = list(OperatorToken.objects.filter(**named)[:2])
        if len(found) != 1:
            some = "More than one token has" if found else "No token has"
            raise CommandError(f"{some} the number or prefix '{said}'.")
        done = operatortoken_revoke(token=found[0], acting_user=None)
        self.stdout.write(f"{found[0]} {'is revoked' if done else 'was revoked before'}.")
