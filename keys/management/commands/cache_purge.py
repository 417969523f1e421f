"""`manage.py cache_purge`: empty the response cache of a key, of a team, or all of it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.rows import find_key, find_team
from keys.models import ApiKey, Team
from keys.purge import EntriesRemain, cache_purge


class Command(BaseCommand):
    """Purges; what was stored before is never read again, even if entries could not be deleted."""

    help = (
        "Empty the response cache. Within a second no gateway reads what was stored before. A key"
        " whose team shares its cache takes what the team shares with it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        whose.add_argument("--team", metavar="NAME", help="one team and all its keys")
        whose.add_argument("--all", action="store_true", help="everybody")

    def handle(self, *_args: Any, **options: Any) -> None:
        holder: ApiKey | Team | None = None
        if not options["all"]:
            holder = find_key(options["key"]) if options["key"] else find_team(options["team"])
        try:
            deleted = cache_purge(holder=holder, acting_user=None)
        except EntriesRemain as error:
            raise CommandError(
                "Valkey does not answer, so entries are left in it. No gateway reads them again,"
                " and they expire by themselves."
            ) from error
        self.stdout.write(f"Purged the cache of {holder or 'everybody'}: {deleted:,} entries.")
