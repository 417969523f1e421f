"""`manage.py team_create`: make a team, whose limits lie over all of its keys together."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.rows import find_plan
from keys.services import team_create


class Command(BaseCommand):
    """Makes a team; without arguments it limits nothing."""

    help = "Make a team, whose limits lie over all of its keys together."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="unique among teams")
        parser.add_argument(
            "--plan", help="name of a plan: the most that a lead of the team may give a key"
        )
        arguments.add_limits(parser, rpm=None, concurrency=None)
        parser.add_argument(
            "--no-cache", action="store_true", help="never answer its keys from the response cache"
        )
        parser.add_argument(
            "--share-cache",
            action="store_true",
            help="let what one key was answered answer any other key of the team",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            team = team_create(
                name=options["name"],
                acting_user=None,
                plan=find_plan(options["plan"]) if options["plan"] else None,
                rpm=options["rpm"],
                concurrency=options["concurrency"],
                cache_enabled=not options["no_cache"],
                cache_shared=options["share_cache"],
                budgets=arguments.budgets(options, ()),
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Made team {team.pk}, {team.name}.")
