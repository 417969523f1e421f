"""`manage.py credentials_rotate`: seal all upstream credentials by the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from proxy.services import credentials_rotate


class Command(BaseCommand):
    """Seals anew what another key had sealed; safe to run again."""

    help = (
        "Seal every upstream credential by the first of CLAUDCODE_CREDENTIAL_KEYS. Put the new key"
        " first, restart, run this, then take the old one away."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        done = credentials_rotate(acting_user=None)
        self.stdout.write(
            f"Sealed anew: {done.resealed}. Sealed by the first key before: {done.current}."
        )
        if done.unreadable:
            raise CommandError(
                "No key opens the credentials of: " + ", ".join(done.unreadable) + "."
                " Bring the old key back, or replace them."
            )
