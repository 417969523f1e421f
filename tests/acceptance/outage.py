"""What a client is told while a store is away or full, and what must be left of it after."""

import httpx

from tests.acceptance.developer import Developer
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry
from usage.verify import verify

ANSWER_SECONDS_MAX = 2


def unavailable(answer: httpx.Response) -> bool:
    """Return whether an answer is the 503 that says when to come back, and it came in time."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["type"] == "api_error"
    assert answer.elapsed.total_seconds() < ANSWER_SECONDS_MAX
    return int(answer.headers["retry-after"]) > 0


def wait_until_nothing_is_in_flight(developer: Developer) -> None:
    """Fail when a place of the developer's key stays taken."""
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 0, seconds=10)


def charged(developer: Developer) -> list[str]:
    """Drain and verify; return how each of the developer's charged exchanges ended."""
    while ledger.drain_lag():
        ledger.drain()
    assert not verify().differences
    entries = LedgerEntry.objects.filter(apikey=developer.apikey, charged_tokens__gt=0)
    return list(entries.values_list("status", flat=True))
