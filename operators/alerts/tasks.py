"""What Celery runs for alerts. Each task may run twice, at once or after a crash."""

from celery import shared_task

from operators.alerts import delivery, looking


@shared_task
def look() -> None:
    """Raise and resolve alerts."""
    looking.look()


@shared_task
def look_at_expiring() -> None:
    """Raise alerts of keys that expire soon."""
    looking.look_at_expiring()


@shared_task
def deliver() -> None:
    """Send what is due."""
    delivery.deliver()
