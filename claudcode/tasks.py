"""What Celery runs for the console's home. It may run twice, at once or after a crash."""

from celery import shared_task
from django.utils import timezone

from claudcode.console import today


@shared_task
def keep_busiest() -> None:
    """Look up who may be among the busiest keys of the day, so that no page has to."""
    today.keep(timezone.now())
