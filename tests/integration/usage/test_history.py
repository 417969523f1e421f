import uuid

import pytest

from keys.core.limits import Limit, Unit
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.history import amounts, anchor_ms, charges

NOON_S = NOON_MS // 1000
WINDOW = "k12.0:tok:18000:a"


def ask(**question):
    defaults = {
        "apikey_id": 12,
        "team_id": None,
        "unit": Unit.TOKENS,
        "bucket_s": 60,
        "since_ms": NOON_MS,
        "before_ms": NOON_MS + 600_000,
        "excluding": [],
    }
    return charges(**(defaults | question))


@pytest.fixture
def settled(db, valkey):
    """Settle one exchange and drain it."""

    def settle(opening=None, after_ms=0, anchors="", **closing):
        opening = opening or an_opening()
        at_ms = NOON_MS + after_ms
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms, anchors=anchors)
        ledger.drain()
        return opening

    return settle


def test_charges_are_summed_by_bucket(settled):
    settled(after_ms=0, charged_tokens=1)
    settled(after_ms=59_999, charged_tokens=2)
    settled(after_ms=60_000, charged_tokens=4)
    # Noon is at the 29,539,470th minute: buckets of 60 s are minutes.
    assert ask() == [(NOON_S // 60, 3), (NOON_S // 60 + 1, 4)]


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [
        pytest.param(-1, 0, id="before"),
        pytest.param(0, 1, id="the first instant counts"),
        pytest.param(599_999, 1, id="the last instant counts"),
        pytest.param(600_000, 0, id="after"),
    ],
)
def test_the_range_includes_its_start_and_not_its_end(settled, after_ms, expected):
    settled(after_ms=after_ms)
    assert len(ask()) == expected


def test_a_range_may_begin_inside_a_bucket(settled):
    settled(after_ms=10_000, charged_tokens=1)
    settled(after_ms=20_000, charged_tokens=2)
    assert ask(since_ms=NOON_MS + 15_000) == [(NOON_S // 60, 2)]


def test_money_is_summed_in_nanodollars(settled):
    settled(cost_nanousd=3_000_000_000)
    settled(cost_nanousd=4)
    assert ask(unit=Unit.NANOUSD) == [(NOON_S // 60, 3_000_000_004)]


def test_requests_count_when_they_were_admitted(settled):
    settled(an_opening(admitted_at_ms=NOON_MS + 5_000), after_ms=400_000)
    settled(an_opening(admitted_at_ms=NOON_MS - 1), after_ms=1_000)
    assert ask(unit=Unit.REQUESTS, bucket_s=1) == [(NOON_S + 5, 1)]


def test_a_request_admitted_by_a_fast_clock_counts(settled):
    settled(an_opening(admitted_at_ms=NOON_MS + 2_000), after_ms=-3_000)
    assert ask(unit=Unit.REQUESTS, bucket_s=1) == [(NOON_S + 2, 1)]


def test_calls_of_count_tokens_leave_nothing(settled):
    settled()
    assert ask(unit=Unit.COUNTS) == []


def test_excluded_exchanges_do_not_count(settled):
    mine = settled(charged_tokens=1)
    settled(charged_tokens=2)
    assert ask(excluding=[mine.exchange_id]) == [(NOON_S // 60, 2)]


def test_others_do_not_count(settled):
    settled(an_opening(apikey_id=13))
    assert ask() == []


def test_a_team_is_charged_for_all_its_keys(settled):
    settled(an_opening(apikey_id=12, team_id=3), charged_tokens=1)
    settled(an_opening(apikey_id=13, team_id=3), charged_tokens=2)
    settled(an_opening(apikey_id=14, team_id=None), charged_tokens=4)
    assert ask(apikey_id=None, team_id=3) == [(NOON_S // 60, 3)]


@pytest.mark.parametrize(("apikey_id", "team_id"), [(None, None), (1, 1)])
def test_charges_are_of_one_holder(apikey_id, team_id):
    with pytest.raises(ValueError, match="of a key or of a team"):
        ask(apikey_id=apikey_id, team_id=team_id)


def test_the_anchor_is_the_newest_stored(settled):
    settled(after_ms=0, anchors=f"{WINDOW}=1000")
    settled(after_ms=1, anchors=f"{WINDOW}=2000,t3.0:tok:60:a=9")
    settled(after_ms=2, anchors="k12.0:usd:60:a=7")
    assert anchor_ms(apikey_id=12, team_id=None, window_name=WINDOW) == 2_000


def test_the_anchor_of_a_team_is_found_through_its_keys(settled):
    settled(an_opening(team_id=3), anchors="t3.0:tok:60:a=9")
    assert anchor_ms(apikey_id=None, team_id=3, window_name="t3.0:tok:60:a") == 9


def test_a_window_never_anchored_has_no_anchor(settled):
    settled()
    assert anchor_ms(apikey_id=12, team_id=None, window_name=WINDOW) is None


def a_pending(**fields):
    """A row of an event that may not be in the ledger yet."""
    row = {
        "apikey_id": 12,
        "team_id": 3,
        "admitted_at_ms": NOON_MS,
        "settled_at_ms": NOON_MS,
        "charged_tokens": 5,
        "cost_nanousd": 6,
    }
    return {uuid.uuid4().hex: row | fields}


def seen(scope="k12.0", unit=Unit.TOKENS, **question):
    limit = Limit(scope, unit, window_s=18_000, limit=1)
    defaults = {"since_ms": NOON_MS, "before_ms": NOON_MS + 600_000, "pending": {}}
    return amounts(limit, **(defaults | question))


def test_what_waits_counts_with_what_is_in_the_ledger(settled):
    settled(charged_tokens=1)
    assert seen(pending=a_pending()) == {NOON_S // 60: 6}


def test_what_waits_and_is_in_the_ledger_too_counts_once(settled):
    mine = settled(charged_tokens=5)
    (row,) = a_pending().values()
    assert seen(pending={mine.exchange_id: row}) == {NOON_S // 60: 5}


@pytest.mark.parametrize(
    ("scope", "unit", "expected"),
    [
        pytest.param("k12.7", Unit.TOKENS, {NOON_S // 60: 5}, id="its key, whatever generation"),
        pytest.param("t3.0", Unit.NANOUSD, {NOON_S // 60: 6}, id="its team"),
        pytest.param("k12.0", Unit.REQUESTS, {NOON_S // 60: 1}, id="as a request"),
        pytest.param("k13.0", Unit.TOKENS, {}, id="another key"),
        pytest.param("t4.0", Unit.TOKENS, {}, id="another team"),
        pytest.param("k12.0", Unit.COUNTS, {}, id="as a call of count_tokens"),
    ],
)
def test_what_waits_counts_for_its_own_holders(db, scope, unit, expected):
    assert seen(scope, unit, pending=a_pending()) == expected


@pytest.mark.parametrize("at_ms", [NOON_MS - 1, NOON_MS + 600_000])
def test_what_waits_outside_the_range_does_not_count(db, at_ms):
    assert seen(pending=a_pending(settled_at_ms=at_ms)) == {}
