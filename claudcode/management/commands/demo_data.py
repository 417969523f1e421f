"""`manage.py demo_data`: fill the console with invented data, and take it out again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from claudcode.console import demo


class Command(BaseCommand):
    """Never mixes with real keys unless told to, and takes back all it made."""

    help = (
        "Fill the console with invented keys and exchanges, plainly marked as demo. Refuses where"
        " there are real keys. Nobody can use a demo key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keys", type=int, default=40, help="how many keys (40)")
        parser.add_argument("--rows", type=int, default=200_000, help="how many exchanges (200000)")
        parser.add_argument("--days", type=int, default=30, help="over how many days (30)")
        parser.add_argument("--force", action="store_true", help="beside real keys too")
        parser.add_argument("--remove", action="store_true", help="delete all demo data")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["remove"]:
            keys, rows = demo.remove()
            self.stdout.write(f"Removed {keys:,} demo keys and {rows:,} exchanges.")
            return
        if min(options["keys"], options["rows"], options["days"]) < 1:
            raise CommandError("Keys, rows and days are at least 1.")
        if next(demo.apikeys(), None) is not None:
            raise CommandError("There is demo data already. Remove it first: demo_data --remove")
        if demo.real_keys_exist() and not options["force"]:
            raise CommandError(
                "This database has real keys; demo data would stand among them. Use --force to"
                " have it all the same: --remove takes only demo data back."
            )
        demo.create(keys=options["keys"], rows=options["rows"], days=options["days"])
        self.stdout.write(
            f"Made {options['keys']:,} demo keys and {options['rows']:,} exchanges of the last"
            f" {options['days']} days. Nobody can use these keys. Undo: demo_data --remove"
        )
