"""`manage.py operator_list`: the accounts, their roles, and who has a second factor."""

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser
from django.db.models import Exists, OuterRef

from operators.models import AuthenticatorApp


class Command(BaseCommand):
    """Lists accounts by name."""

    help = "List the accounts of people with their roles. No password is in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    def handle(self, *_args: Any, **options: Any) -> None:
        factor = AuthenticatorApp.objects.filter(user=OuterRef("pk"), confirmed=True)
        people = User.objects.annotate(has_factor=Exists(factor)).prefetch_related("groups")
        for user in people.order_by("username"):
            shown = _shown(user)
            self.stdout.write(json.dumps(shown, default=str) if options["json"] else _line(shown))


def _shown(user: Any) -> dict[str, Any]:
    roles = sorted(group.name for group in user.groups.all())
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "name": user.get_full_name(),
        "roles": ["superuser", *roles] if user.is_superuser else roles,
        "open": user.is_active,
        "second_factor": user.has_factor,
        "last_login": user.last_login,
    }


def _line(shown: dict[str, Any]) -> str:
    roles = ", ".join(shown["roles"]) or "no role"
    factor = "second factor" if shown["second_factor"] else "no second factor"
    seen = f"{shown['last_login']:%Y-%m-%d %H:%M} UTC" if shown["last_login"] else "never"
    state = "" if shown["open"] else ", closed"
    return f"{shown['username']}: {roles}, {factor}, last sign-in {seen}{state}"
