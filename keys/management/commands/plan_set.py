"""`manage.py plan_set NAME`: change a plan, and so every key that follows it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments, fields
from keys.management.rows import find_plan
from keys.services import plan_update

_FIELDS = {
    "rename": "name",
    "rpm": "rpm",
    "concurrency": "concurrency",
    "models": "models",
    "wait": "wait_s",
    "cache": "cache_enabled",
    "hangup": "hangup",
}


class Command(BaseCommand):
    """Changes what is given and leaves the rest; the keys that follow obey within a second."""

    help = (
        "Change a plan: what is given, and nothing else. Every key that follows it obeys within a"
        " second. For its budgets see budget_set."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the plan")
        fields.add_rates(parser)
        fields.add_terms(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        changes: Any = fields.given(options, _FIELDS)
        plan = find_plan(options["name"])
        try:
            stored = plan_update(plan=plan, changes=changes, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Plan {stored} is as you say.")
