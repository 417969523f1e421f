"""The simulator's own books: every request it served, to hold against somebody else's ledger.

Entries get their `seq` when they end, so reading on from the last one seen misses none; those still
open are listed apart. Knows no HTTP and no clock.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from simulator.usage import Usage

# Entries of one answer: bounds the time that reading the books takes from everybody else.
PAGE_MAX = 5_000


@dataclass(slots=True)
class Entry:
    """One request. `outcome` tells how it ended:

    `finished`  the whole answer was handed to the connection
    `refused`   an HTTP error was
    `error`     an error event ended the stream
    `cut`       a mark closed the connection
    `hung_up`   the client closed it, after `hung_up_after_ms`
    `open`      not yet

    `output_tokens` are those generated up to the end, `events` the stream events sent.
    """

    started_at_ms: int
    method: str
    path: str
    query: str
    request_id: str
    headers: tuple[tuple[str, str], ...] = ()
    credential_last_four: str = ""
    body_bytes: int = 0
    body_sha256: bytes = b""
    status: int = 0
    model: str = ""
    message_id: str = ""
    streamed: bool = False
    usage: Usage | None = None
    output_tokens: int = 0
    thinking_tokens: int = 0
    events: int = 0
    outcome: str = "open"
    hung_up_after_ms: int | None = None
    ended_at_ms: int | None = None
    seq: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the books show it."""
        shown = {name: getattr(self, name) for name in _SHOWN}
        shown["headers"] = dict(self.headers)
        shown["body_sha256"] = self.body_sha256.hex()
        shown["finished"] = self.outcome == "finished"
        shown["usage"] = self._usage()
        return shown

    def _usage(self) -> dict[str, Any] | None:
        if self.usage is None:
            return None
        if self.outcome == "finished":
            return self.usage.at_end(self.output_tokens, self.thinking_tokens)
        return self.usage.at_start(self.output_tokens)


_SHOWN = tuple(name for name in Entry.__slots__ if name not in ("headers", "body_sha256", "usage"))


@dataclass(slots=True)
class Books:
    """The last `entries_max` entries that ended, and all that are open."""

    entries_max: int
    in_flight: dict[str, Entry] = field(default_factory=dict)
    ended: deque[Entry] = field(init=False)
    total: int = 0

    def __post_init__(self) -> None:
        self.ended = deque(maxlen=self.entries_max)

    def begin(self, entry: Entry) -> None:
        """Enter a request that has arrived."""
        self.in_flight[entry.request_id] = entry

    def end(self, entry: Entry, ended_at_ms: int) -> None:
        """Close an entry and give it its number."""
        if self.in_flight.pop(entry.request_id, None) is None:
            return  # The books were emptied while it was open.
        self.total += 1
        entry.seq = self.total
        entry.ended_at_ms = ended_at_ms
        self.ended.append(entry)

    def page(self, since: int, limit: int = PAGE_MAX) -> dict[str, Any]:
        """Return entries with `seq` above `since`, oldest first; `next` is the `since` to go on."""
        first = self.ended[0].seq if self.ended else self.total + 1
        skipped = max(0, since - first + 1)
        shown = list(islice(self.ended, skipped, skipped + min(limit, PAGE_MAX)))
        return {
            "total": self.total,
            "lost": max(0, first - 1 - since),
            "next": shown[-1].seq if shown else max(since, first - 1),
            "entries": [entry.as_json() for entry in shown],
            "open": [entry.as_json() for entry in islice(self.in_flight.values(), PAGE_MAX)],
        }

    def clear(self) -> None:
        """Forget everything and number from one again."""
        self.in_flight.clear()
        self.ended.clear()
        self.total = 0
