"""`manage.py team_set NAME`: change a team, whose limits lie over all of its keys together."""

from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments, fields
from keys.management.arguments import rate
from keys.management.rows import find_plan, find_team
from keys.services import team_update

_FIELDS = {
    "rename": "name",
    "plan": "plan",
    "rpm": "rpm",
    "concurrency": "concurrency",
    "cache": "cache_enabled",
    "share_cache": "cache_shared",
    "ledger_days": "ledger_keep_days",
    "legal_hold": "legal_hold",
}


class Command(BaseCommand):
    """Changes what is given and leaves the rest."""

    help = (
        "Change a team: what is given, and nothing else. For its budgets see budget_set, for its"
        " people team_member."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the team")
        fields.add_rates(parser)
        parser.add_argument(
            "--plan",
            type=fields.or_none,
            default=fields.KEPT,
            help="the most that a lead of the team may give a key, or none: leads issue no keys",
        )
        parser.add_argument(
            "--share-cache",
            action=BooleanOptionalAction,
            default=fields.KEPT,
            help="whether what one key was answered may answer any other key of the team",
        )
        parser.add_argument(
            "--ledger-days",
            type=rate,
            metavar="DAYS",
            default=fields.KEPT,
            help="how long its exchanges stay in the ledger at least, or none: as everybody's",
        )
        parser.add_argument(
            "--legal-hold",
            metavar="WHY",
            default=fields.KEPT,
            help="keep all of its exchanges, and say why; '' ends the hold",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        changes: Any = fields.given(options, _FIELDS)
        team = find_team(options["name"])
        if changes.get("plan"):
            changes["plan"] = find_plan(changes["plan"])
        try:
            stored = team_update(team=team, changes=changes, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Team {stored} is as you say.")
