"""`manage.py credentials_rotate`: seal everything that is sealed by the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operators.alerts.services import secrets_rotate
from operators.services import factor_keys_rotate
from proxy.services import credentials_rotate
from webtools.services import tavily_rotate


class Command(BaseCommand):
    """Seals anew what another key had sealed; safe to run again."""

    help = (
        "Seal the credentials of upstream accounts and of web tools, secrets of webhooks and keys"
        " of authenticator apps by the first of CLAUDCODE_CREDENTIAL_KEYS. Put the new key first,"
        " restart, run this, then take the old one away."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        credentials = credentials_rotate(acting_user=None)
        done = {
            "upstream accounts": (
                credentials.resealed,
                credentials.current,
                list(credentials.unreadable),
            ),
            "web tools": tavily_rotate(acting_user=None),
            "webhooks": secrets_rotate(acting_user=None),
            "second factors": factor_keys_rotate(acting_user=None),
        }
        for what, (resealed, current, _unreadable) in done.items():
            self.stdout.write(f"{what}: sealed anew {resealed}, by the first key before {current}.")
        if lost := [
            f"{what} of {', '.join(names)}" for what, (_, _, names) in done.items() if names
        ]:
            raise CommandError(
                f"No key opens: {'; '.join(lost)}. Bring the old key back, or replace them."
            )
