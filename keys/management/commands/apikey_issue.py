"""`manage.py apikey_issue`: make an API key and print its secret, once."""

import json
from argparse import BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.core.budget import BudgetSpec
from keys.core.secret import Secret
from keys.core.terms import INHERIT, Terms
from keys.inheritance import holdings, terms
from keys.management import arguments
from keys.management.rows import find_plan, find_team
from keys.models import CONCURRENCY_DEFAULT, RPM_DEFAULT, ApiKey, Budget, Plan
from keys.services import BUDGETS_DEFAULT, apikey_issue


class Command(BaseCommand):
    """Issues a key with the limits named; with none named, 5,000,000 tokens in 5 hours."""

    help = "Make an API key and print its secret, which is shown this once and never again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="what people will call the key")
        parser.add_argument("--team", help="name of a team that exists (manage.py team_create)")
        parser.add_argument(
            "--plan",
            help="name of a plan that exists (manage.py plan_create): what is not said here is as"
            " the plan says, now and after its changes",
        )
        arguments.add_limits(parser, rpm=RPM_DEFAULT, concurrency=CONCURRENCY_DEFAULT, plan=True)
        parser.add_argument(
            "--models",
            type=arguments.comma_list,
            default=INHERIT,
            metavar="ID,ID",
            help="allowed model ids or patterns such as claude-haiku-*, or nothing ('') for all"
            " (default: all)",
        )
        parser.add_argument(
            "--cidrs",
            type=arguments.comma_list,
            default=[],
            metavar="C,C",
            help="allowed client addresses or networks (default: all)",
        )
        parser.add_argument(
            "--expires",
            type=arguments.moment,
            metavar="ISO",
            help="such as 2027-01-31 or 2027-01-31T18:00:00+01:00; UTC if it does not say",
        )
        parser.add_argument(
            "--wait",
            type=int,
            default=INHERIT,
            metavar="SECONDS",
            help="how long an exchange may wait for a free slot, at most 60 (default: 0)",
        )
        parser.add_argument(
            "--cache",
            action=BooleanOptionalAction,
            default=INHERIT,
            help="whether to answer this key from the response cache (default: yes)",
        )
        parser.add_argument(
            "--during-maintenance", action="store_true", help="let it through during maintenance"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = find_team(options["team"]) if options["team"] else None
        plan = find_plan(options["plan"]) if options["plan"] else None
        try:
            apikey, secret = apikey_issue(
                name=options["name"],
                acting_user=None,
                team=team,
                rpm=options["rpm"],
                concurrency=options["concurrency"],
                plan=plan,
                budgets=_budgets(options, plan),
                models=options["models"],
                cidrs=options["cidrs"],
                expires_at=options["expires"],
                wait_s=options["wait"],
                cache_enabled=options["cache"],
                during_maintenance=options["during_maintenance"],
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        write = _json if options["json"] else _text
        self.stdout.write(write(apikey, secret, _in_force(apikey)))


def _budgets(options: dict[str, Any], plan: Plan | None) -> list[BudgetSpec]:
    return arguments.budgets(options, () if plan else BUDGETS_DEFAULT)


def _in_force(apikey: ApiKey) -> list[Budget]:
    return [holding.budget for holding in holdings([apikey])[apikey]]


def _terms(apikey: ApiKey) -> Terms:
    return terms(apikey, [], timezone.now())


def _text(apikey: ApiKey, secret: Secret, budgets: list[Budget]) -> str:
    has = _terms(apikey)
    rpm = "unlimited" if has.rpm is None else has.rpm
    concurrency = "unlimited" if has.concurrency is None else has.concurrency
    plan = "" if apikey.plan is None else f" Plan: {apikey.plan}."
    return (
        f"Issued key {apikey.pk}, {apikey.name}. Its secret is shown this once:\n\n"
        f"    {secret.text}\n\n"
        f"Requests a minute: {rpm}. In flight at once: {concurrency}. "
        f"Budgets: {', '.join(str(budget) for budget in budgets) or 'none'}.{plan}"
    )


def _json(apikey: ApiKey, secret: Secret, budgets: list[Budget]) -> str:
    fields = ("unit", "window_s", "limit_amount", "strict", "anchored")
    has = _terms(apikey)
    limits = {
        "rpm": has.rpm,
        "concurrency": has.concurrency,
        "budgets": [{field: getattr(budget, field) for field in fields} for budget in budgets],
    }
    return json.dumps(
        {
            "id": apikey.pk,
            "name": apikey.name,
            "prefix": apikey.prefix,
            "secret": secret.text,
            "team": apikey.team.name if apikey.team else None,
            "plan": apikey.plan.name if apikey.plan else None,
            "inherited": apikey.inherited,
            "limits": limits,
            "models": list(has.models),
            "cidrs": apikey.cidrs,
            "wait_s": has.wait_s,
            "cache_enabled": has.cache_enabled,
            "during_maintenance": apikey.during_maintenance,
            "expires_at": apikey.expires_at.isoformat() if apikey.expires_at else None,
        }
    )
