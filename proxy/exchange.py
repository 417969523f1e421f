"""One admitted exchange: what it was let in for, how far it has come, what it will be charged.

Plain bookkeeping in memory; opens no socket and asks no store.
"""

import time
from dataclasses import dataclass, field, replace

from keys.core.access import CatalogueModel, KeyPolicy
from keys.core.limits import Wanted
from keys.limiter import Progress, Settlement
from proxy.core.cache_entry import Entry
from proxy.core.charge import cost_of
from proxy.core.habit import Habit
from proxy.core.meter import AnswerMeter, Metered, StreamMeter
from proxy.core.request import MessagesRequest
from proxy.trace import Trace
from usage.core.event import Attempt, CacheOutcome, Closing, ExchangeStatus, encode_closing
from usage.core.price import PriceBook
from usage.core.tokens import TokenUsage, weigh

# How fast Claude writes, about: what an answer nobody saw is taken to have produced when its
# client leaves before a non-streaming answer comes, or before hidden thinking is counted.
OUTPUT_TOKENS_PER_S = 60
# Nothing reached upstream, or it refused.
NOTHING_USED = Metered(TokenUsage(), "", "", "", estimated=False, reported=True, whole=False)


@dataclass(slots=True)
class Exchange:
    """An exchange in flight. Its meter is set when upstream's headers are there.

    `digest` is its name in the response cache, `None` to bypass it; `original` is what the cache
    had; `cache_source` is the request id of whose answer it gets, if not one of its own. `trace` is
    whoever follows it.
    """

    exchange_id: str
    policy: KeyPolicy
    model: CatalogueModel
    request: MessagesRequest
    wanted: Wanted
    habit: Habit
    prices: PriceBook
    opening: bytes
    cache_read_weight_percent: int
    admitted_at_ms: int
    digest: str | None = None
    original: Entry | None = None
    cache: CacheOutcome = CacheOutcome.BYPASS
    cache_source: str = ""
    attempts: tuple[Attempt, ...] = ()
    began: float = field(default_factory=time.monotonic)
    first_byte: float | None = None
    sent_upstream: bool = False
    http_status: int = 0
    upstream: str = ""
    upstream_request_id: str = ""
    meter: StreamMeter | AnswerMeter | None = None
    trace: Trace | None = None

    def note_first_byte(self) -> None:
        """The answer is about to reach the client."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()

    def looked_up(self, entry: Entry | None) -> None:
        """Take note of what the response cache has."""
        self.original = entry
        if entry is None:
            self.cache, self.cache_source = CacheOutcome.MISS, ""
        else:
            self.share(entry.filled_by)

    def share(self, request_id: str) -> None:
        """Take note that the answer is the one of another request."""
        self.cache, self.cache_source = CacheOutcome.HIT, request_id

    def closing(self, status: ExchangeStatus, error_type: str = "") -> tuple[Closing, Metered]:
        """Return the charge if the exchange ended now, and what the meter says."""
        metered = self._metered(status)
        tokens, nanousd = self._worth(metered)
        closing = Closing(
            status=status,
            http_status=self.http_status,
            error_type=error_type or metered.error_type,
            model_answered=metered.model[:256],
            upstream=self.upstream,
            upstream_request_id=self.upstream_request_id,
            attempts=self.attempts,
            cache=self.cache,
            cache_source=self.cache_source,
            usage=metered.all_usage,
            charged_tokens=tokens,
            cost_nanousd=nanousd,
            saved_tokens=0,
            saved_nanousd=0,
            estimated=metered.estimated,
            first_byte_ms=self._since(self.first_byte),
            total_ms=self._since(time.monotonic()) or 0,
        )
        return (self._lessened(closing) if self.cache_source else closing), metered

    def _worth(self, metered: Metered) -> tuple[int, int]:
        """Return what the answer is worth in tokens and nano-dollars when upstream makes it."""
        if self.original is not None:
            return self.original.charged_tokens, self.original.cost_nanousd
        cost = cost_of(self.prices, self.request, self.model.id, metered, self.admitted_at_ms)
        return weigh(metered.all_usage, self.cache_read_weight_percent), cost

    def _lessened(self, closing: Closing) -> Closing:
        """Return the charge for an answer that upstream made for somebody else."""
        tokens = -(-closing.charged_tokens * self.cache_read_weight_percent // 100)
        nanousd = -(-closing.cost_nanousd * self.cache_read_weight_percent // 100)
        return replace(
            closing,
            usage=TokenUsage(),
            charged_tokens=tokens,
            cost_nanousd=nanousd,
            saved_tokens=closing.charged_tokens - tokens,
            saved_nanousd=closing.cost_nanousd - nanousd,
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
        """Return how far the exchange has come, for whoever finds it abandoned."""
        if self.meter is None or self.http_status != 200:
            return Progress(self.exchange_id, 0, 0, b"")
        closing, _metered = self.closing(ExchangeStatus.ABANDONED)
        return Progress(
            self.exchange_id, closing.charged_tokens, closing.cost_nanousd, encode_closing(closing)
        )

    def _metered(self, status: ExchangeStatus) -> Metered:
        if self.original is not None:
            return replace(NOTHING_USED, model=self.original.model_answered)
        if not self.sent_upstream or self.http_status not in (0, 200):
            return NOTHING_USED
        if self.meter is None:
            return NOTHING_USED if status is ExchangeStatus.UPSTREAM_ERROR else self._unseen()
        metered = self.meter.metered(self.habit.output_ratio)
        if metered.estimated and metered.hidden:
            # Else whoever leaves before the last event would have all thinking for nothing.
            usage = metered.usage
            written = max(usage.output_tokens, self._written_since(self.first_byte))
            metered = replace(metered, usage=replace(usage, output_tokens=written))
        metered = self._bounded(metered)
        if metered.reported:
            return metered
        usage = replace(metered.usage, input_tokens=self.wanted.input_tokens)
        if not self.request.streamed:
            usage = replace(usage, output_tokens=max(usage.output_tokens, self._written()))
        return replace(metered, usage=usage)

    def _bounded(self, metered: Metered) -> Metered:
        # No answer is longer than asked for, so no estimate of one is.
        usage = metered.usage
        if not metered.estimated or usage.output_tokens <= self.request.max_tokens:
            return metered
        return replace(metered, usage=replace(usage, output_tokens=self.request.max_tokens))

    def _unseen(self) -> Metered:
        # Upstream was at work and had said nothing yet: the input, and output by the clock.
        output_tokens = 0 if self.request.streamed else self._written()
        usage = TokenUsage(input_tokens=self.wanted.input_tokens, output_tokens=output_tokens)
        return Metered(usage, "", "", "", estimated=True, reported=False, whole=False)

    def _written(self) -> int:
        usual = self.wanted.tokens - self.wanted.input_tokens
        return min(usual, self._written_since(self.began))

    def _written_since(self, instant: float | None) -> int:
        return 0 if instant is None else int((time.monotonic() - instant) * OUTPUT_TOKENS_PER_S)

    def _since(self, instant: float | None) -> int | None:
        return None if instant is None else round((instant - self.began) * 1000)
