"""`manage.py apikey_state KEY disable|enable|revoke`: refuse a key, or let it in again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.management.rows import find_key
from keys.services import apikey_disable, apikey_enable, apikey_revoke

_SERVICES = {"disable": apikey_disable, "enable": apikey_enable, "revoke": apikey_revoke}


class Command(BaseCommand):
    """Moves a key from one state of its life to another; gateways obey within a second."""

    help = (
        "Refuse a key for a while (disable), let it in again (enable), or refuse it for ever"
        " (revoke). Gateways obey within a second; exchanges in flight finish."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="PREFIX|ID", help="one key: sk-cc-AbC123 or 12")
        parser.add_argument("verb", choices=tuple(_SERVICES))

    def handle(self, *_args: Any, **options: Any) -> None:
        apikey, verb = find_key(options["key"]), options["verb"]
        moved = _SERVICES[verb](apikey=apikey, acting_user=None)
        done = f"{verb.removesuffix('e')}ed" if moved else "as it was"
        self.stdout.write(f"{apikey} is {done}.")
