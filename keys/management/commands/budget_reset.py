"""`manage.py budget_reset`: empty windows of budgets, so that what was used counts no more."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.core.limits import Unit
from keys.management import arguments
from keys.management.rows import add_holder, find_holding, find_holdings, whose
from keys.services import budget_reset
from keys.windows import NotEmptied

_UNITS = {"tokens": Unit.TOKENS, "usd": Unit.NANOUSD}


class Command(BaseCommand):
    """Resets one window of a key or a team, or all of them."""

    help = "Empty windows of budgets: what was used so far no longer counts against them."

    def add_arguments(self, parser: CommandParser) -> None:
        add_holder(parser)
        parser.add_argument(
            "--unit", choices=tuple(_UNITS), help="with --window: one budget (default: all)"
        )
        parser.add_argument("--window", type=arguments.window, metavar="WINDOW", help="such as 5h")

    def handle(self, *_args: Any, **options: Any) -> None:
        if (options["unit"] is None) != (options["window"] is None):
            raise CommandError("Say --unit and --window, or neither for all budgets.")
        if options["unit"]:
            found = [find_holding(options, _UNITS[options["unit"]], options["window"])]
        else:
            found = find_holdings(options)
        try:
            for holding in found:
                budget_reset(budget=holding.budget, acting_user=None, **whose(holding))
        except NotEmptied as error:
            raise CommandError(
                "Valkey does not answer, so a window may not be empty yet. Reset it again later."
            ) from error
        self.stdout.write(f"Emptied: {', '.join(str(h.budget) for h in found) or 'nothing'}.")
