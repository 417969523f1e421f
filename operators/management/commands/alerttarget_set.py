"""`manage.py alerttarget_set NAME`: change who is told of alerts, try it, or end it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import sentence
from keys.management.fields import KEPT
from operators.alerts import services
from operators.alerts.arguments import add_kinds, secret_text, target_called
from operators.alerts.models import AlertTarget


class Command(BaseCommand):
    """Changes what is given and leaves the rest."""

    help = (
        "Change who is told of alerts: what is given, and nothing else. Another address of a"
        " webhook makes another secret, which is printed, this once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the target")
        parser.add_argument("--rename", metavar="NAME", default=KEPT, help="the new name")
        parser.add_argument("--address", default=KEPT, help="where it leads")
        add_kinds(parser, KEPT)
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument(
            "--enable", dest="enabled", action="store_true", default=KEPT, help="tell it again"
        )
        switch.add_argument(
            "--disable", dest="enabled", action="store_false", default=KEPT, help="tell it nothing"
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--test", action="store_true", help="then send a test")
        what.add_argument("--new-secret", action="store_true", help="the old one ends now")
        what.add_argument("--delete", action="store_true", help="delete it with its deliveries")

    def handle(self, *_args: Any, **options: Any) -> None:
        target = target_called(options["name"])
        if options["delete"]:
            services.target_delete(target=target, acting_user=None)
            self.stdout.write(f"Deleted alert target {options['name']}.")
            return
        try:
            secret = _change(target, options)
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        target.refresh_from_db()
        self.stdout.write(f"Alert target {target} is as you say.{secret_text(secret)}")
        if options["test"]:
            if trouble := services.target_test(target=target, acting_user=None):
                raise CommandError(f"{target}: {trouble}")
            self.stdout.write("The test was taken.")


def _change(target: AlertTarget, options: dict[str, Any]) -> str:
    fields = {"rename": "name", "address": "address", "kinds": "kinds", "enabled": "enabled"}
    changes: Any = {
        field: options[name] for name, field in fields.items() if options[name] is not KEPT
    }
    secret = services.target_update(target=target, changes=changes, acting_user=None)
    if options["new_secret"]:
        secret = services.target_renew_secret(target=target, acting_user=None)
    return secret
