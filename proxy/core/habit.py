"""What a key usually does with a model: how many tokens its bytes make, how long answers get.

Reservations are made from habits, so that a budget is not walled off by `max_tokens` that no
answer ever reaches. A habit is a guess; the charge at the end is what counts.
"""

from dataclasses import dataclass

from keys.core.limits import Wanted
from proxy.core.request import MessagesRequest
from usage.core.price import Price
from usage.core.tokens import TokenUsage, weigh

# Weight of the newest answer: a change of habit shows within a dozen calls.
NEWEST = 0.15
# JSON of English prose and code comes to about four bytes a token.
BODY_BYTES_PER_TOKEN = 4.0
# Most answers of chats and agents are shorter; the first few calls correct it.
OUTPUT_TOKENS_FIRST = 1000.0
# What wraps every prompt upstream: roles, tool-use instructions. Anthropic's longest published
# tool prompt is below 700 tokens.
PROMPT_OVERHEAD_TOKENS = 1024
# An answer below this says little of how its text is counted.
TEACHING_TOKENS_MIN = 50
# Tokenizers differ by half; thinking that is shown in short, or not at all, makes the rest.
OUTPUT_RATIO_BOUNDS = (0.5, 8.0)
# A larger number than this means "whatever fits"; kept small enough for the store's arithmetic.
TOKENS_MAX = 10**9


@dataclass(frozen=True, slots=True)
class Habit:
    """Moving averages of one key with one model. Output spread is the mean absolute deviation.

    `output_ratio`: tokens that upstream counts in an answer, to each of our estimate.
    """

    body_bytes_per_token: float = BODY_BYTES_PER_TOKEN
    output_tokens: float = OUTPUT_TOKENS_FIRST
    output_spread_tokens: float = 0.0
    output_ratio: float = 1.0


def wanted(
    habit: Habit,
    request: MessagesRequest,
    price: Price,
    *,
    input_tokens_max: int,
    price_most: Price,
) -> Wanted:
    """Return what to set aside for `request`.

    Soft: the input by the habit's ratio, the output `min(max_tokens, usual)`. Strict: `max_tokens`
    and `input_tokens_max`, no fewer tokens than the body can hold, at `price_most`, the price of a
    prompt of that length, if it is dearer.
    """
    input_tokens = min(TOKENS_MAX, int(request.body_bytes / habit.body_bytes_per_token) + 1)
    usual = int(habit.output_tokens + 2 * habit.output_spread_tokens) + 1
    output_tokens = min(request.max_tokens, usual)
    output_most = min(request.max_tokens, TOKENS_MAX)
    return Wanted(
        tokens=input_tokens + output_tokens,
        tokens_strict=input_tokens_max + output_most,
        nanousd=input_tokens * price.input_nanousd + output_tokens * price.output_nanousd,
        nanousd_strict=input_tokens_max * max(price.input_nanousd_max, price_most.input_nanousd_max)
        + output_most * max(price.output_nanousd_max, price_most.output_nanousd_max),
        input_tokens=input_tokens,
        input_nanousd=input_tokens * price.input_nanousd,
    )


def input_tokens_max(body_bytes: int, bounded: bool, context_window_tokens: int) -> int:
    """Return the most input tokens a body can come to: one a byte, or the whole context window
    when it carries what its bytes do not bound.
    """
    most = body_bytes + PROMPT_OVERHEAD_TOKENS
    return min(context_window_tokens, most) if bounded else context_window_tokens


def learn(
    habit: Habit,
    request: MessagesRequest,
    usage: TokenUsage,
    output_tokens_estimate: float,
    cache_read_weight_percent: int,
) -> Habit:
    """Return the habit after one more answer whose counts are upstream's own."""
    input_weight = weigh(usage, cache_read_weight_percent) - usage.output_tokens
    surprise = abs(usage.output_tokens - habit.output_tokens)
    return Habit(
        body_bytes_per_token=_towards(
            habit.body_bytes_per_token, _ratio(request.body_bytes, input_weight)
        ),
        output_tokens=_towards(habit.output_tokens, usage.output_tokens),
        output_spread_tokens=_towards(habit.output_spread_tokens, surprise),
        output_ratio=_learn_ratio(habit.output_ratio, usage.output_tokens, output_tokens_estimate),
    )


def _learn_ratio(ratio: float, tokens: int, estimate: float) -> float:
    # Short answers are mostly framing and would teach a wrong ratio.
    if min(tokens, estimate) < TEACHING_TOKENS_MIN:
        return ratio
    low, high = OUTPUT_RATIO_BOUNDS
    return _towards(ratio, min(high, max(low, tokens / estimate)))


def _towards(average: float, newest: float) -> float:
    return average + NEWEST * (newest - average)


def _ratio(size_bytes: int, tokens: int) -> float:
    # Between a byte a token and a fully cached prompt of base64; keeps one odd call from
    # making the next reservation absurd.
    return min(100.0, max(1.0, size_bytes / max(1, tokens)))
