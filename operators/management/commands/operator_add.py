"""`manage.py operator_add`: an account for the console, its password printed once."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from operators.roles import Role
from operators.services import operator_add


class Command(BaseCommand):
    help = "Make an account and print its temporary password once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        for option in ("--email", "--first-name", "--last-name"):
            parser.add_argument(option, default="")
        parser.add_argument(
            "--role",
            action="append",
            default=[],
            choices=[role.value for role in Role],
            help="may be given more than once; without it the account only owns keys",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            _, password = operator_add(
                username=options["username"],
                email=options["email"],
                first_name=options["first_name"],
                last_name=options["last_name"],
                roles=options["role"],
                acting_user=None,
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(password)
        self.stderr.write("Shown this once. It is replaced at the first sign-in.")
