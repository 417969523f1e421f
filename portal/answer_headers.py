"""The headers of an answer and what they say, for the documentation and the page to try a key."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """A header by the name that it is documented under, and its meaning in Markdown-free words."""

    name: str
    meaning: str


ANSWER_HEADERS = (
    AnswerHeader("request-id", "this exchange; give it when you ask for help"),
    AnswerHeader("X-RateLimit-Limit", "requests that your key may make in a minute"),
    AnswerHeader("X-RateLimit-Remaining", "how many of them are left"),
    AnswerHeader("X-RateLimit-Reset", "when the next one is free again, in seconds since 1970"),
    AnswerHeader("anthropic-ratelimit-requests-limit", "the same limit under Anthropic's name"),
    AnswerHeader("anthropic-ratelimit-requests-remaining", "what is left of it"),
    AnswerHeader("anthropic-ratelimit-requests-reset", "when some of it is free again"),
    AnswerHeader("anthropic-ratelimit-tokens-limit", "tokens of your key's first token budget"),
    AnswerHeader("anthropic-ratelimit-tokens-remaining", "how many of them are left"),
    AnswerHeader("anthropic-ratelimit-tokens-reset", "when some of them are free again"),
    AnswerHeader("X-Cache", "HIT: from the cache. MISS: not there. BYPASS: not looked for"),
    AnswerHeader("X-Cache-TTL", "on a hit: seconds until the answer is forgotten"),
    AnswerHeader("Age", "on a hit: seconds since it was stored"),
    AnswerHeader("X-Tokens-Saved", "on a hit: tokens that you were not charged"),
    AnswerHeader("Retry-After", "on a refusal: seconds until this request can pass"),
    AnswerHeader("x-should-retry", "false: an SDK should not try again by itself"),
)
