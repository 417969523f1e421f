import pytest

from proxy.core.charge import cost_of, price_ahead
from proxy.core.meter import Metered
from proxy.core.request import MessagesRequest
from usage.core.price import Price, PriceBook
from usage.core.tokens import TokenUsage

HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-6"
BOOK = PriceBook(
    (
        Price(HAIKU, 0, 0, 1_000, 5_000, 1_250, 2_000, 100, 0),
        Price(HAIKU, 0, 100_000, 9_000, 9_000, 9_000, 9_000, 900, 0),
        Price(OPUS, 0, 0, 5_000, 25_000, 6_250, 10_000, 500, 0),
    ),
    fast_percent=600,
)
# 10 in and 10 out are 60,000 nano-dollars of the first, 300,000 of the second.
USAGE = TokenUsage(input_tokens=10, output_tokens=10)


def a_request(**fields):
    given = {"model": HAIKU, "streamed": True, "max_tokens": 500, "body_bytes": 4000}
    return MessagesRequest(**given | fields)


def an_answer(**fields):
    given = {"model": HAIKU, "error_type": "", "stop_reason": "end_turn", "estimated": False}
    return Metered(**{"usage": USAGE, "reported": True, "whole": True} | given | fields)


@pytest.mark.parametrize(
    ("request_fields", "answer_fields", "cost"),
    [
        pytest.param({}, {}, 60_000, id="one model"),
        pytest.param({"fast": True}, {"speed": "fast"}, 360_000, id="fast"),
        pytest.param({"fast": True}, {"speed": "standard"}, 60_000, id="fast, but it was not"),
        pytest.param({"fast": True}, {}, 360_000, id="fast, and nobody says"),
        pytest.param({}, {"speed": "fast"}, 360_000, id="fast unasked"),
        pytest.param({"fallbacks": (OPUS,)}, {}, 300_000, id="who answered is not told"),
        pytest.param({"fallbacks": (OPUS,)}, {"itemized": True}, 60_000, id="nobody stood in"),
        pytest.param(
            {"fallbacks": (OPUS,)}, {"itemized": True, "stood_in": OPUS}, 300_000, id="a stand-in"
        ),
        pytest.param({}, {"beside": ((OPUS, USAGE),)}, 360_000, id="advice of a dearer model"),
        pytest.param({}, {"beside": (("", USAGE),)}, 120_000, id="a summary by the same"),
        pytest.param({}, {"beside": (("claude-9", USAGE),)}, 360_000, id="an unknown adviser"),
    ],
)
def test_whoever_had_a_hand_in_an_answer_is_charged(request_fields, answer_fields, cost):
    request, answer = a_request(**request_fields), an_answer(**answer_fields)
    assert cost_of(BOOK, request, HAIKU, answer, at_ms=1) == cost


@pytest.mark.parametrize(
    ("fields", "prompt_tokens", "output_nanousd"),
    [
        pytest.param({}, 10, 5_000, id="the model"),
        pytest.param({"fallbacks": (OPUS,)}, 10, 25_000, id="a model that may stand in"),
        pytest.param({"fast": True}, 10, 30_000, id="fast"),
        pytest.param({}, 100_000, 9_000, id="a long prompt"),
    ],
)
def test_the_dearest_is_held(fields, prompt_tokens, output_nanousd):
    held = price_ahead(BOOK, a_request(**fields), HAIKU, prompt_tokens, at_ms=1)
    assert held.output_nanousd == output_nanousd
