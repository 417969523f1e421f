"""`manage.py apikey_extend`: let a key live longer."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.rows import find_key
from keys.services import apikey_extend


class Command(BaseCommand):
    """Extends a key; an expired one lives again."""

    help = "Let a key live longer. An expired key lives again, a revoked one never."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        until = parser.add_mutually_exclusive_group(required=True)
        until.add_argument(
            "--until",
            type=arguments.moment,
            metavar="ISO",
            help="such as 2027-01-31 or 2027-01-31T18:00:00+01:00; UTC if it does not say",
        )
        until.add_argument("--for-ever", action="store_true", help="it never expires")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            stored = apikey_extend(
                apikey=find_key(options["key"]), expires_at=options["until"], acting_user=None
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        until = f"until {stored.expires_at:%Y-%m-%d %H:%M} UTC" if stored.expires_at else "for ever"
        self.stdout.write(f"{stored} lives {until}.")
