"""`manage.py alerttarget_add NAME`: tell somebody of alerts, by e-mail or by webhook."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import sentence
from keys.management.rows import find_team
from operators.alerts.arguments import add_kinds, secret_text
from operators.alerts.models import Channel
from operators.alerts.services import target_add


class Command(BaseCommand):
    """Adds a target and prints a webhook's secret, once."""

    help = "Tell somebody of alerts. A webhook's secret is printed, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="unique among targets")
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--email", metavar="ADDRESS")
        where.add_argument("--webhook", metavar="URL", help="https, on the public internet")
        add_kinds(parser, [])
        parser.add_argument("--team", metavar="NAME", help="only of what belongs to this team")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = find_team(options["team"]) if options["team"] else None
        try:
            target, secret = target_add(
                name=options["name"],
                channel=(Channel.EMAIL if options["email"] else Channel.WEBHOOK).value,
                address=options["email"] or options["webhook"],
                kinds=options["kinds"],
                team=team,
                acting_user=None,
            )
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        self.stdout.write(
            f"Added alert target {target}.{secret_text(secret)}"
            f" Try it: manage.py alerttarget_set '{target}' --test"
        )
