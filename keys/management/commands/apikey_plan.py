"""`manage.py apikey_plan`: put a key on a plan, or take it off."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.rows import find_key, find_plan
from keys.services import apikey_change_plan


class Command(BaseCommand):
    """Changes the plan of a key."""

    help = "Put a key on a plan; it follows the plan in everything. Or take it off its plan."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        plan = parser.add_mutually_exclusive_group(required=True)
        plan.add_argument("--plan", help="name of a plan that exists (manage.py plan_create)")
        plan.add_argument(
            "--none",
            action="store_true",
            help="no plan any more: what the key had of it becomes its own",
        )
        parser.add_argument(
            "--keep-own",
            action="store_true",
            help="leave as they are the limits and budgets that are the key's own",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        plan = None if options["none"] else find_plan(options["plan"])
        try:
            stored = apikey_change_plan(
                apikey=find_key(options["key"]),
                plan=plan,
                keep_own=options["keep_own"],
                acting_user=None,
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        follows = f"follows {plan}" if plan else "follows no plan"
        own = (
            f", but for its own {len(stored.budgets.all())} budgets" if stored.budgets.all() else ""
        )
        self.stdout.write(f"{stored} {follows}{own}.")
