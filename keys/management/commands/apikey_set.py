"""`manage.py apikey_set KEY`: change fields of a key."""

from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments, fields
from keys.management.rows import find_key, find_team
from keys.services import apikey_update

_FIELDS = {
    "rename": "name",
    "team": "team",
    "owner": "owner",
    "rpm": "rpm",
    "concurrency": "concurrency",
    "models": "models",
    "cidrs": "cidrs",
    "wait": "wait_s",
    "cache": "cache_enabled",
    "hangup": "hangup",
    "during_maintenance": "during_maintenance",
}


class Command(BaseCommand):
    """Changes what is given and leaves the rest; what is changed follows no plan any more."""

    help = (
        "Change a key: what is given, and nothing else. For its plan see apikey_plan, for its end"
        " apikey_extend, for its budgets budget_set."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        fields.add_rates(parser)
        fields.add_terms(parser)
        parser.add_argument(
            "--team", type=fields.or_none, default=fields.KEPT, help="a team, or none"
        )
        parser.add_argument(
            "--owner", type=fields.or_none, default=fields.KEPT, help="an account, or none"
        )
        parser.add_argument(
            "--cidrs",
            type=arguments.comma_list,
            metavar="C,C",
            default=fields.KEPT,
            help="allowed client addresses or networks, or nothing ('') for all",
        )
        parser.add_argument(
            "--during-maintenance",
            action=BooleanOptionalAction,
            default=fields.KEPT,
            help="whether it is let through during maintenance",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        apikey = find_key(options["key"])
        changes: Any = fields.given(options, _FIELDS)
        if changes.get("team"):
            changes["team"] = find_team(changes["team"])
        if changes.get("owner"):
            changes["owner"] = fields.find_user(changes["owner"])
        try:
            stored = apikey_update(apikey=apikey, changes=changes, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"{stored} is as you say.")
