"""`manage.py team_delete NAME`: delete a team that nobody knows."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import ProtectedError

from keys.management.rows import find_team
from keys.services import team_delete


class Command(BaseCommand):
    """Deletes a team with its budgets and members."""

    help = "Delete a team that has no key and is in no entry of the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the team")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = find_team(options["name"])
        name = str(team)
        try:
            team_delete(team=team, acting_user=None)
        except ProtectedError as error:
            raise CommandError(
                f"A key or the ledger knows the team {name}, so it stays."
            ) from error
        self.stdout.write(f"Deleted team {name}.")
