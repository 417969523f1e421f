"""What the clients saw and what was done to the installation: plain values, no sockets."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Request:
    """One request of a client. `marker` is its user agent, which every other book keeps too.

    `status` 0: no answer came. `whole`: the answer came to its end. `left`: the client hung up.
    """

    marker: str
    kind: str
    gateway: int
    apikey_id: int
    sent_at: float
    ended_at: float = 0.0
    status: int = 0
    exchange_id: str = ""
    usage: dict[str, Any] | None = None
    whole: bool = False
    left: bool = False
    trouble: str = ""

    @property
    def seen(self) -> str:
        """What the client saw, in a word or two."""
        if self.left:
            return "left"
        if self.trouble == "refused":
            return "found nobody listening"
        if self.whole:
            return "whole"
        if self.status not in (0, 200):
            return str(self.status)
        return f"broken off ({self.status or 'no answer'})"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that was done, from `began` to `ended` (epoch seconds); `lost` are the exchanges
    whose events were in Valkey alone when it was flushed.
    """

    name: str
    began: float
    ended: float
    detail: str = ""
    gateway: int | None = None
    lost: frozenset[str] = frozenset()
