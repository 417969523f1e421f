"""What Celery runs every second. Each task may run twice, at once or after a crash.

The schedule is in the settings; a tick that nobody took in time is dropped there.
"""

from celery import shared_task

from keys.sweep import sweep as sweep_leases
from usage.ledger import drain as drain_events


@shared_task
def drain() -> None:
    """Write waiting events to the ledger."""
    drain_events()


@shared_task
def sweep() -> None:
    """Charge and record the exchanges whose holder died; drop what is idle."""
    sweep_leases()
