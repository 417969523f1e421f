"""One admitted call of a web tool: what it was let in for, what it will be charged.

Plain bookkeeping in memory; opens no socket and asks no store. In the ledger a call is an
exchange whose model is `tavily-search` and the like, with a cost and without tokens.
"""

import time
from dataclasses import dataclass, field

from keys.core.access import KeyPolicy
from keys.core.limits import Wanted
from keys.limiter import Progress, Settlement
from proxy.trace import Run
from usage.core.event import Attempt, CacheOutcome, Closing, ExchangeStatus, encode_closing
from usage.core.tokens import TokenUsage

UPSTREAM = "tavily"


@dataclass(slots=True)
class ToolExchange:
    """A call in flight. `wanted` and `opening` are what the limiter was told of it; `run` is who
    follows it.
    """

    exchange_id: str
    policy: KeyPolicy
    wanted: Wanted
    opening: bytes
    model: str
    cache: CacheOutcome = CacheOutcome.BYPASS
    cache_source: str = ""
    http_status: int = 0
    upstream_request_id: str = ""
    asked: bool = False
    began: float = field(default_factory=time.monotonic)
    run: Run | None = None

    def closing(
        self,
        status: ExchangeStatus,
        *,
        cost_nanousd: int = 0,
        saved_nanousd: int = 0,
        estimated: bool = False,
        error_type: str = "",
    ) -> Closing:
        """Return the charge if the call ended now."""
        total_ms = round((time.monotonic() - self.began) * 1000)
        outcome = "answered" if self.http_status == 200 else str(self.http_status or "broken")
        return Closing(
            status=status,
            http_status=self.http_status,
            error_type=error_type,
            model_answered=self.model,
            upstream=UPSTREAM if self.http_status and self.asked else "",
            upstream_request_id=self.upstream_request_id,
            attempts=(Attempt(UPSTREAM, outcome, total_ms),) if self.asked else (),
            cache=self.cache,
            cache_source=self.cache_source,
            usage=TokenUsage(),
            charged_tokens=0,
            cost_nanousd=cost_nanousd,
            saved_tokens=0,
            saved_nanousd=saved_nanousd,
            estimated=estimated,
            first_byte_ms=None,
            total_ms=total_ms,
        )

    def settlement(self, closing: Closing) -> Settlement:
        """Return `closing` as the limiter wants it."""
        return Settlement(
            shard=self.policy.shard,
            exchange_id=self.exchange_id,
            scopes=self.policy.scopes,
            opening=self.opening,
            tokens=closing.charged_tokens,
            nanousd=closing.cost_nanousd,
            closing=encode_closing(closing),
        )

    def progress(self) -> Progress:
        """Return how far the call has come: nobody knows until it ends, so what is held counts."""
        return Progress(self.exchange_id, 0, 0, b"")
