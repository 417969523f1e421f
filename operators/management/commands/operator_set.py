"""`manage.py operator_set NAME`: change an account and its roles, close it, or open it again."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.arguments import sentence
from keys.management.fields import find_user
from operators.roles import Role, roles_of
from operators.services import OperatorChanges, operator_update


class Command(BaseCommand):
    """Changes what is given and leaves the rest."""

    help = "Change an account or its roles, close it (its sessions end), or open it again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        roles = parser.add_mutually_exclusive_group()
        roles.add_argument(
            "--role",
            action="append",
            choices=[role.value for role in Role],
            help="a role to have from now on, in place of all others; repeatable",
        )
        roles.add_argument(
            "--no-role", action="store_true", help="none: they own keys and cannot enter"
        )
        for option in ("--email", "--first-name", "--last-name"):
            parser.add_argument(option, help="nothing ('') takes it away")
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--close", action="store_true", help="let nobody in by this account")
        state.add_argument("--open", action="store_true", help="let its owner in again")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = find_user(options["username"])
        roles = [] if options["no_role"] else options["role"] or roles_of(user)
        names = ("email", "first_name", "last_name")
        changes: OperatorChanges = {}
        changes |= {name: options[name] for name in names if options[name] is not None}  # type: ignore[typeddict-item]
        if options["close"] or options["open"]:
            changes["is_active"] = options["open"]
        try:
            operator_update(user=user, changes=changes, roles=roles, acting_user=None)
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        user.refresh_from_db()
        state = "open" if user.is_active else "closed"
        self.stdout.write(f"{user} is {state}; roles: {', '.join(roles_of(user)) or 'none'}.")
