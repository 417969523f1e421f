"""`manage.py plan_create`: make a plan, a template of limits that keys follow."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.core.access import Hangup
from keys.management import arguments
from keys.models import CONCURRENCY_DEFAULT, RPM_DEFAULT
from keys.services import plan_create


class Command(BaseCommand):
    """Makes a plan; its limits and budgets hold for each of its keys apart."""

    help = "Make a plan. Keys follow it (apikey_issue --plan), and its later changes too."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="unique among plans")
        arguments.add_limits(parser, rpm=RPM_DEFAULT, concurrency=CONCURRENCY_DEFAULT)
        parser.add_argument(
            "--models",
            type=arguments.comma_list,
            default=[],
            metavar="ID,ID",
            help="allowed model ids or patterns such as claude-haiku-* (default: all)",
        )
        parser.add_argument(
            "--wait",
            type=int,
            default=0,
            metavar="SECONDS",
            help="how long an exchange may wait for a free slot, at most 60 (default: 0)",
        )
        parser.add_argument(
            "--no-cache", action="store_true", help="never answer its keys from the response cache"
        )
        parser.add_argument(
            "--hangup",
            choices=[hangup.value for hangup in Hangup],
            default=Hangup.ABORT.value,
            help="what becomes of upstream's answer when the client has left (default: abort)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            plan = plan_create(
                name=options["name"],
                acting_user=None,
                fields={
                    "rpm": options["rpm"],
                    "concurrency": options["concurrency"],
                    "models": options["models"],
                    "wait_s": options["wait"],
                    "cache_enabled": not options["no_cache"],
                    "hangup": options["hangup"],
                },
                budgets=arguments.budgets(options, ()),
            )
        except ValidationError as error:
            raise CommandError(arguments.sentence(error)) from error
        self.stdout.write(f"Made plan {plan.pk}, {plan.name}.")
