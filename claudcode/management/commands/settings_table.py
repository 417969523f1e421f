"""`manage.py settings_table`: the table of docs/settings.md, out of what the code reads."""

from typing import Any

from django.core.management.base import BaseCommand

from claudcode import env


class Command(BaseCommand):
    help = "Print every setting with its default and meaning, as Markdown."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(env.table())
