"""`manage.py alertdelivery_replay ID ...`: try deliveries of alerts again that were given up."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from operators.alerts.models import AlertDelivery
from operators.alerts.services import delivery_replay


class Command(BaseCommand):
    """Replays deliveries; the worker sends them within seconds."""

    help = (
        "Try deliveries of alerts again that were given up. Their ids: manage.py alerttarget_list"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", type=int, metavar="ID")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = AlertDelivery.objects.filter(pk__in=options["ids"])
        done = [delivery_replay(delivery=row, acting_user=None) for row in rows]
        self.stdout.write(f"Deliveries to be tried again: {sum(done)} of {len(options['ids'])}.")
