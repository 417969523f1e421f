"""`manage.py budget_set`: give a key, a team or a plan a budget, change it, or take it away."""

from argparse import BooleanOptionalAction
from dataclasses import replace
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.core.budget import BudgetSpec
from keys.management import arguments
from keys.management.fields import KEPT
from keys.management.rows import find_key, find_plan, find_team
from keys.models import ApiKey, Budget, Plan, Team
from keys.services import budget_add, budget_remove, budget_update


class Command(BaseCommand):
    """Sets one budget; a holder has one of a unit and a window."""

    help = (
        "Give a key, a team or a plan a budget, or change the one of this unit and window. What was"
        " used stays used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        holder = parser.add_mutually_exclusive_group(required=True)
        holder.add_argument("--key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        holder.add_argument("--team", metavar="NAME", help="one team, over all its keys together")
        holder.add_argument("--plan", metavar="NAME", help="one plan, for each of its keys apart")
        arguments.add_amount(parser)
        flags = {
            "--strict": "hold the worst case: it is never exceeded",
            "--anchored": "begin at the first use and end all at once",
        }
        for option, meaning in flags.items():
            parser.add_argument(
                option,
                action=BooleanOptionalAction,
                default=KEPT,
                help=f"{meaning} (a new budget: no)",
            )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--unlimited", action="store_true", help="no limit, whatever a plan says of this window"
        )
        what.add_argument(
            "--remove", action="store_true", help="take the budget of this window away"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        spec, holder = _spec(options), _holder(options)
        budget = holder.budgets.filter(unit=spec.unit.value, window_s=spec.window_s).first()
        spec = replace(spec, **_flags(options, budget))
        try:
            if options["remove"]:
                if budget is None:
                    raise CommandError(f"{holder} has no such budget of its own.")
                budget_remove(budget=budget, acting_user=None)
            elif budget is None:
                budget_add(holder=holder, spec=spec, acting_user=None)
            else:
                budget_update(budget=budget, spec=spec, acting_user=None)
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        names = ", ".join(str(each) for each in holder.budgets.all()) or "none"
        self.stdout.write(f"Budgets of {holder}: {names}.")


def _spec(options: dict[str, Any]) -> BudgetSpec:
    spec: BudgetSpec | None = options["tokens"] or options["usd"]
    if spec is None:
        raise CommandError("Say how much: --tokens 5000000/5h or --usd 20/30d.")
    return spec.unlimited() if options["unlimited"] else spec


def _flags(options: dict[str, Any], budget: Budget | None) -> dict[str, Any]:
    """Return what was said of them, else what the stored budget is: a slip must loosen nothing."""
    kept = {name: getattr(budget, name, False) for name in ("strict", "anchored")}
    return {name: was if options[name] is KEPT else options[name] for name, was in kept.items()}


def _holder(options: dict[str, Any]) -> ApiKey | Plan | Team:
    if options["key"]:
        return find_key(options["key"])
    return find_team(options["team"]) if options["team"] else find_plan(options["plan"])
