"""Finds the rows that a command's arguments name, or says in a sentence that there are none."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from keys.core.budget import format_window
from keys.core.limits import Unit
from keys.inheritance import Holding, holdings
from keys.models import ApiKey, Plan, Team


def find_key(text: str) -> ApiKey:
    """Return the key with this prefix or id. A rotated key is found by the prefix before, too."""
    wanted = Q(prefix=text) | Q(previous_prefix=text)
    if text.isascii() and text.isdigit() and len(text) < 19:
        wanted |= Q(pk=int(text))
    found = list(ApiKey.objects.select_related("plan", "team").filter(wanted)[:2])
    if not found:
        raise CommandError(f"No key has the prefix or the id '{text}'.")
    if len(found) > 1:
        raise CommandError(f"Several keys have the prefix '{text}'. Name one by its id.")
    return found[0]


def find_team(name: str) -> Team:
    """Return the team of this name."""
    team = Team.objects.filter(name=name).first()
    if team is None:
        raise CommandError(
            f"There is no team '{name}'. Make it first: manage.py team_create --name '{name}'"
        )
    return team


def find_plan(name: str) -> Plan:
    """Return the plan of this name."""
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        raise CommandError(
            f"There is no plan '{name}'. Make it first: manage.py plan_create --name '{name}'"
        )
    return plan


def add_holder(parser: CommandParser) -> None:
    """Add --key and --team, of which one must be given."""
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
    whose.add_argument("--team", metavar="NAME", help="one team")


def find_holdings(options: dict[str, Any]) -> list[Holding]:
    """Return the budgets that bind what --key or --team names, those of a key's plan too."""
    if options["team"]:
        team = find_team(options["team"])
        return holdings([], [team])[team]
    apikey = find_key(options["key"])
    return holdings([apikey])[apikey]


def find_holding(options: dict[str, Any], unit: Unit, window_s: int) -> Holding:
    """Return the one budget of this unit and window."""
    found = find_holdings(options)
    for holding in found:
        if (holding.budget.unit, holding.budget.window_s) == (unit, window_s):
            return holding
    names = ", ".join(str(holding.budget) for holding in found) or "none"
    wanted = f"{'tokens' if unit is Unit.TOKENS else 'USD'} / {format_window(window_s)}"
    raise CommandError(f"There is no budget of {wanted}. There are: {names}.")


def whose(holding: Holding) -> dict[str, ApiKey]:
    """Return the argument by which services learn whose window of a plan's budget is meant."""
    apikey = holding.holder
    return {"apikey": apikey} if holding.inherited and isinstance(apikey, ApiKey) else {}
