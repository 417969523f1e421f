"""`manage.py plan_delete NAME`: delete a plan that nobody has."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import ProtectedError

from keys.management.rows import find_plan
from keys.services import plan_delete


class Command(BaseCommand):
    """Deletes a plan with its budgets."""

    help = "Delete a plan that no key and no team has. Take them off it first: apikey_plan --none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the plan")

    def handle(self, *_args: Any, **options: Any) -> None:
        plan = find_plan(options["name"])
        try:
            plan_delete(plan=plan, acting_user=None)
        except ProtectedError as error:
            raise CommandError(f"A key or a team has the plan {plan}, so it stays.") from error
        self.stdout.write(f"Deleted plan {plan}.")
