"""`manage.py operator_rescue`: the way back in for whoever lost a password or a second factor."""

from argparse import ArgumentParser
from typing import Any

from axes.utils import reset
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from operators.oidc.accounts import identity_forget
from operators.services import password_reset, second_factor_remove
from operators.sign_in_link import SECONDS_MAX, link_make

OF_AN_ACCOUNT = ("password", "second_factor", "single_sign_on", "sign_in_link")
NO_PASSWORDS = (
    "CLAUDCODE_PASSWORD_SIGN_IN is off, so a password opens nothing. Take --sign-in-link."
)


class Command(BaseCommand):
    help = (
        "Give a temporary password or a sign-in link, remove a second factor, or end all waits at"
        " the sign-in."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?")
        parser.add_argument("--password", action="store_true", help="print a temporary password")
        parser.add_argument("--second-factor", action="store_true", help="remove it")
        parser.add_argument(
            "--single-sign-on",
            action="store_true",
            help="forget whom the provider knows the account as; the next sign-in links it anew",
        )
        parser.add_argument(
            "--sign-in-link",
            action="store_true",
            help=f"print an address that signs them in, once, within {SECONDS_MAX // 60} minutes;"
            " it works where passwords are off, too",
        )
        parser.add_argument("--unlock", action="store_true", help="let every address sign in")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not any(options[name] for name in (*OF_AN_ACCOUNT, "unlock")):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in (*OF_AN_ACCOUNT, "unlock"))
            raise CommandError(f"Say what: {names}.")
        if options["password"] and not settings.PASSWORD_SIGN_IN:
            raise CommandError(NO_PASSWORDS)
        if options["unlock"]:
            reset()
            self.stderr.write("No address has to wait any more.")
        if any(options[name] for name in OF_AN_ACCOUNT):
            self._rescue(_account(options["username"]), options)

    def _rescue(self, user: User, options: dict[str, Any]) -> None:
        if options["second_factor"]:
            done = second_factor_remove(user=user, acting_user=None)
            self.stderr.write("Second factor removed." if done else "There was no second factor.")
        if options["single_sign_on"]:
            done = identity_forget(user=user, acting_user=None)
            self.stderr.write("Link removed." if done else "There was no link.")
        if options["password"]:
            self.stdout.write(password_reset(user=user, acting_user=None))
            self.stderr.write("Shown this once. It is replaced at the first sign-in.")
        if options["sign_in_link"]:
            self.stdout.write(link_make(user=user, acting_user=None))
            self.stderr.write("It signs in whoever opens it. It is shown this once.")


def _account(username: str | None) -> User:
    try:
        return User.objects.get(username=username or "")
    except User.DoesNotExist as error:
        raise CommandError("Name an account that exists.") from error
