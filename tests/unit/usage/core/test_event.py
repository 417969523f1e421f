import orjson
import pytest

from tests.ledger_events import NOON_MS, a_closing, an_opening, old_event
from usage.core.event import ExchangeStatus, encode_closing, encode_opening, join, parse_anchors
from usage.core.tokens import TokenUsage


def test_a_settled_exchange_has_its_opening_its_closing_and_its_usage_side_by_side():
    opening = an_opening(apikey_id=3)
    closing = a_closing(usage=TokenUsage(input_tokens=7, cache_read_input_tokens=9))
    row = join(encode_opening(opening), encode_closing(closing), NOON_MS)
    assert row["exchange_id"] == opening.exchange_id
    assert row["apikey_id"] == 3
    assert row["status"] == ExchangeStatus.COMPLETED
    assert (row["input_tokens"], row["cache_read_input_tokens"]) == (7, 9)
    assert row["settled_at_ms"] == NOON_MS


def test_an_exchange_that_never_reported_is_charged_its_estimate():
    opening = an_opening(input_tokens_estimate=40, cost_nanousd_estimate=40_000)
    row = join(encode_opening(opening), None, NOON_MS)
    assert row["status"] == ExchangeStatus.ABANDONED
    assert (row["input_tokens"], row["charged_tokens"], row["cost_nanousd"]) == (40, 40, 40_000)
    assert row["estimated"] is True


def test_abandoned_and_settled_rows_have_the_same_fields():
    opening = encode_opening(an_opening())
    settled = join(opening, encode_closing(a_closing()), NOON_MS)
    assert join(opening, None, NOON_MS).keys() == settled.keys()


@pytest.mark.parametrize("how", ["settled", "never_reported"])
def test_an_event_of_the_release_before_the_cache_went_past_it(how):
    event = old_event(how)
    row = join(event["o"], event["c"], NOON_MS)
    assert (row["upstream"], row["attempts"]) == ("default", None)
    assert (row["cache"], row["cache_source"]) == ("bypass", "")
    assert (row["saved_tokens"], row["saved_nanousd"]) == (0, 0)
    assert row.keys() == join(OPENING, CLOSING, NOON_MS).keys()


def test_a_nul_character_is_replaced_rather_than_lost_with_its_charge():
    opening = encode_opening(an_opening(client_agent="a\0b"))
    assert join(opening, None, NOON_MS)["client_agent"] == "a\ufffdb"


OPENING = encode_opening(an_opening())
CLOSING = encode_closing(a_closing())


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        pytest.param(b"", CLOSING, id="no opening"),
        pytest.param(b"{", CLOSING, id="half an opening"),
        pytest.param(b"[]", CLOSING, id="a list"),
        pytest.param(b'{"apikey_id":1}', CLOSING, id="no exchange id"),
        pytest.param(b"\xff\xfe", CLOSING, id="not UTF-8"),
        pytest.param(OPENING, b"{", id="half a closing"),
        pytest.param(OPENING, b"7", id="a closing that is a number"),
        pytest.param(OPENING, b"{}", id="no usage"),
        pytest.param(OPENING, orjson.dumps({"usage": [1]}), id="a usage that is a list"),
    ],
)
def test_what_is_no_event_is_a_value_error(opening, closing):
    with pytest.raises(ValueError, match=r"."):
        join(opening, closing, NOON_MS)


@pytest.mark.parametrize(
    ("text", "anchors"),
    [
        pytest.param(b"", None, id="none"),
        pytest.param(b"k12.0:tok:18000:a=17", {"k12.0:tok:18000:a": 17}, id="one"),
        pytest.param(b"k1.0:tok:60:a=1,t2.0:usd:60:a=2",
                     {"k1.0:tok:60:a": 1, "t2.0:usd:60:a": 2}, id="two"),
    ],
)  # fmt: skip
def test_anchors_are_read_by_window(text, anchors):
    assert parse_anchors(text) == anchors


@pytest.mark.parametrize("text", [b"k1.0:tok:60:a", b"=17", b"k1=x", b",", b"\xff=1"])
def test_what_are_no_anchors_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_anchors(text)
