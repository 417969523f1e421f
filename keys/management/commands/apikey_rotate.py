"""`manage.py apikey_rotate`: give a key a new secret; the one before works on for a while."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.rows import find_key
from keys.services import GRACE_DEFAULT, GRACE_MAX, apikey_end_grace, apikey_rotate


class Command(BaseCommand):
    """Rotates a key, or ends the grace of its last rotation."""

    help = (
        "Give a key a new secret and print it, this once. Both secrets work until the grace is"
        " over; limits, budgets and what was used stay the key's."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        parser.add_argument(
            "--grace",
            type=arguments.span,
            default=GRACE_DEFAULT,
            metavar="TIME",
            help=f"how long both work, such as 1h or 7d, at most {GRACE_MAX.days}d, or 0 to refuse"
            f" the secret before at once (default: {GRACE_DEFAULT.days}d)",
        )
        parser.add_argument(
            "--end-grace",
            action="store_true",
            help="no new secret: refuse the one before the last rotation from now on",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        apikey = find_key(options["key"])
        if options["end_grace"]:
            if not apikey_end_grace(apikey=apikey, acting_user=None):
                raise CommandError(f"{apikey} has one secret only.")
            self.stdout.write(f"The secret before {apikey.masked} is refused from now on.")
            return
        try:
            stored, secret = apikey_rotate(apikey=apikey, acting_user=None, grace=options["grace"])
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        until = stored.previous_expires_at
        if options["json"]:
            shown = {
                "id": stored.pk,
                "name": stored.name,
                "prefix": stored.prefix,
                "secret": secret.text,
                "previous_expires_at": until.isoformat() if until else None,
            }
            self.stdout.write(json.dumps(shown))
            return
        before = f"works until {until:%Y-%m-%d %H:%M} UTC" if until else "is refused from now on"
        self.stdout.write(
            f"Rotated key {stored.pk}, {stored.name}. Its new secret is shown this once:\n\n"
            f"    {secret.text}\n\nThe one before, {apikey.masked}, {before}."
        )
