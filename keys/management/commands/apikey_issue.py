"""`manage.py apikey_issue`: make an API key and print its secret, once."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.core.secret import Secret
from keys.management import arguments
from keys.models import CONCURRENCY_DEFAULT, RPM_DEFAULT, ApiKey, Budget, Team
from keys.services import BUDGETS_DEFAULT, apikey_issue


class Command(BaseCommand):
    """Issues a key with the limits named; with none named, 5,000,000 tokens in 5 hours."""

    help = "Make an API key and print its secret, which is shown this once and never again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="what people will call the key")
        parser.add_argument("--team", help="name of a team that exists (manage.py team_create)")
        arguments.add_limits(parser, rpm=RPM_DEFAULT, concurrency=CONCURRENCY_DEFAULT)
        parser.add_argument(
            "--models",
            type=arguments.comma_list,
            default=[],
            metavar="ID,ID",
            help="allowed model ids or patterns such as claude-haiku-* (default: all)",
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
            default=0,
            metavar="SECONDS",
            help="how long an exchange may wait for a free slot, at most 60 (default: 0)",
        )
        parser.add_argument(
            "--no-cache", action="store_true", help="never answer this key from the response cache"
        )
        parser.add_argument(
            "--during-maintenance", action="store_true", help="let it through during maintenance"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = _team(options["team"])
        try:
            apikey, secret = apikey_issue(
                name=options["name"],
                acting_user=None,
                team=team,
                rpm=options["rpm"],
                concurrency=options["concurrency"],
                budgets=arguments.budgets(options, BUDGETS_DEFAULT),
                models=options["models"],
                cidrs=options["cidrs"],
                expires_at=options["expires"],
                wait_s=options["wait"],
                cache_enabled=not options["no_cache"],
                during_maintenance=options["during_maintenance"],
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        write = _json if options["json"] else _text
        self.stdout.write(write(apikey, secret, list(apikey.budgets.all())))


def _team(name: str | None) -> Team | None:
    if name is None:
        return None
    team = Team.objects.filter(name=name).first()
    if team is None:
        raise CommandError(
            f"There is no team '{name}'. Make it first: manage.py team_create --name '{name}'"
        )
    return team


def _text(apikey: ApiKey, secret: Secret, budgets: list[Budget]) -> str:
    rpm = "unlimited" if apikey.rpm is None else apikey.rpm
    concurrency = "unlimited" if apikey.concurrency is None else apikey.concurrency
    return (
        f"Issued key {apikey.pk}, {apikey.name}. Its secret is shown this once:\n\n"
        f"    {secret.text}\n\n"
        f"Requests a minute: {rpm}. In flight at once: {concurrency}. "
        f"Budgets: {', '.join(str(budget) for budget in budgets) or 'none'}."
    )


def _json(apikey: ApiKey, secret: Secret, budgets: list[Budget]) -> str:
    fields = ("unit", "window_s", "limit_amount", "strict", "anchored")
    limits = {
        "rpm": apikey.rpm,
        "concurrency": apikey.concurrency,
        "budgets": [{field: getattr(budget, field) for field in fields} for budget in budgets],
    }
    return json.dumps(
        {
            "id": apikey.pk,
            "name": apikey.name,
            "prefix": apikey.prefix,
            "secret": secret.text,
            "team": apikey.team.name if apikey.team else None,
            "limits": limits,
            "models": apikey.models,
            "cidrs": apikey.cidrs,
            "wait_s": apikey.wait_s,
            "cache_enabled": apikey.cache_enabled,
            "during_maintenance": apikey.during_maintenance,
            "expires_at": apikey.expires_at.isoformat() if apikey.expires_at else None,
        }
    )
