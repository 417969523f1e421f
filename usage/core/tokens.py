"""Token counts of one answer, as Anthropic names them, and what they weigh in a budget."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one answer used.

    The two `ephemeral` counts are parts of `cache_creation_input_tokens`; where upstream does not
    split them, the five-minute part is all of it. `inference_geo` is upstream's word or "".
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    web_search_requests: int = 0
    inference_geo: str = ""

    @property
    def prompt_tokens(self) -> int:
        """All input, cached or not: what Anthropic's price bands are measured by."""
        return self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens


def weigh(usage: TokenUsage, cache_read_weight_percent: int) -> int:
    """Return the tokens charged to a budget: cache reads by their weight, rounded up.

    Source: wire.md, "Token accounting": a cached token counts a tenth.
    """
    full = usage.input_tokens + usage.cache_creation_input_tokens + usage.output_tokens
    return full - (-usage.cache_read_input_tokens * cache_read_weight_percent // 100)
