"""The `usage` objects of an answer, in Anthropic's shape. Knows no HTTP."""

from dataclasses import dataclass
from typing import Any

from simulator.prompt_cache import CacheUse

# What one web search adds to the prompt that the model reads.
SEARCH_RESULT_TOKENS = 400


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `searched_tokens` is the input that upstream's own tools added."""

    input_tokens: int
    cache: CacheUse
    geo: str = "global"
    speed: str = ""
    web_searches: int = 0

    @property
    def searched_tokens(self) -> int:
        """Input that is known only at the end, because searching added it."""
        return self.web_searches * SEARCH_RESULT_TOKENS

    def at_start(self, output_tokens: int) -> dict[str, Any]:
        """Return the usage of `message_start`."""
        return self._full(self.input_tokens, output_tokens)

    def at_end(self, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
        """Return the usage of an answer that is not streamed."""
        full = self._full(self.input_tokens + self.searched_tokens, output_tokens)
        return full | self._details(thinking_tokens)

    def in_delta(self, output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
        """Return the usage of a `message_delta`: cumulative, and without the fields it lacks."""
        return {
            "input_tokens": self.input_tokens + self.searched_tokens,
            "cache_creation_input_tokens": self.cache.written_5m + self.cache.written_1h,
            "cache_read_input_tokens": self.cache.read,
            "output_tokens": output_tokens,
        } | self._details(thinking_tokens)

    def _full(self, input_tokens: int, output_tokens: int) -> dict[str, Any]:
        cache = self.cache
        full = {
            "input_tokens": input_tokens,
            "cache_creation_input_tokens": cache.written_5m + cache.written_1h,
            "cache_read_input_tokens": cache.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": cache.written_5m,
                "ephemeral_1h_input_tokens": cache.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": self.geo,
        }
        return full | {"speed": self.speed} if self.speed else full

    def _details(self, thinking_tokens: int) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if thinking_tokens:
            details["output_tokens_details"] = {"thinking_tokens": thinking_tokens}
        if self.web_searches:
            details["server_tool_use"] = {
                "web_search_requests": self.web_searches,
                "web_fetch_requests": 0,
            }
        return details
