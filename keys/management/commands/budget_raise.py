"""`manage.py budget_raise`: raise a budget until a date, or end such a raise."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management import arguments
from keys.management.rows import add_holder, find_holding, whose
from keys.services import budget_raise, budget_raise_end


class Command(BaseCommand):
    """Raises a budget of a key, be it its plan's, or of a team."""

    help = "Raise a budget until a date, when the raise ends by itself within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        add_holder(parser)
        arguments.add_amount(parser)
        until = parser.add_mutually_exclusive_group(required=True)
        until.add_argument(
            "--until",
            type=arguments.moment,
            metavar="ISO",
            help="such as 2027-01-31 or 2027-01-31T18:00:00+01:00; UTC if it does not say",
        )
        until.add_argument(
            "--end", action="store_true", help="end the raise of this window now, whatever it is"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        spec = options["tokens"] or options["usd"]
        if spec is None:
            raise CommandError("Say how much: --tokens 5000000/5h or --usd 20/30d.")
        holding = find_holding(options, spec.unit, spec.window_s)
        said: dict[str, Any] = {"budget": holding.budget, "acting_user": None} | whose(holding)
        try:
            if options["end"]:
                budget_raise_end(**said)
            else:
                budget_raise(limit=spec.limit, until=options["until"], **said)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        if options["end"]:
            self.stdout.write(f"{holding.holder} has {holding.budget} again.")
            return
        until = options["until"].strftime("%Y-%m-%d %H:%M %Z")
        self.stdout.write(f"{holding.holder} has more than {holding.budget} until {until}.")
