"""What Celery runs for those who use the console. A task may run twice, at once or in a crash."""

from celery import shared_task

from operators import clearing


@shared_task
def clear() -> None:
    """Delete sessions, kept answers and counts of failures that have expired."""
    clearing.clear()
