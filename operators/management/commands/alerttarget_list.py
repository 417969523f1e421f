"""`manage.py alerttarget_list`: who is told of alerts."""

from typing import Any

from django.core.management.base import BaseCommand

from operators.alerts.models import AlertDelivery, AlertTarget


class Command(BaseCommand):
    """Lists targets, and of each what is on its way and what was given up."""

    help = "List who is told of alerts. Of a webhook's address the host alone is shown."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for target in AlertTarget.objects.select_related("team"):
            kinds = ", ".join(target.kinds) or "everything"
            team = f" of team {target.team}" if target.team else ""
            state = "" if target.enabled else ", disabled"
            self.stdout.write(
                f"{target.name}: {target.channel} to {target.masked}, told of {kinds}{team}{state}"
            )
            self._dead(target)

    def _dead(self, target: AlertTarget) -> None:
        dead = AlertDelivery.objects.filter(target=target, dead_at__isnull=False).order_by("pk")
        if ids := [str(pk) for pk in dead.values_list("pk", flat=True)]:
            self.stdout.write(f"    given up: {' '.join(ids)} (manage.py alertdelivery_replay)")
