"""`manage.py apikeys_export`: write keys as CSV, without any secret."""

import csv
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.management.rows import find_team
from keys.models import ApiKey
from keys.transfer import export


class Command(BaseCommand):
    """Streams; `apikeys_import` reads what it writes."""

    help = "Write keys as CSV to standard output, the oldest first. No secret is in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", metavar="NAME", help="only the keys of one team")

    def handle(self, *_args: Any, **options: Any) -> None:
        apikeys = ApiKey.objects.order_by("pk")
        if options["team"]:
            apikeys = apikeys.filter(team=find_team(options["team"]))
        csv.writer(self.stdout, lineterminator="\n").writerows(export(apikeys))
