from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.selection import PART_CHARS_MAX, Standing, affinity, choose, stable_prefix
from tests.unit.proxy.core.accounts import an_account

HAIKU = "claude-haiku-4-5"
CONVERSATIONS = [b"conversation %d" % number for number in range(3000)]

standings = st.sampled_from(Standing)
pools = st.lists(
    st.builds(
        lambda number, priority, weight, models: an_account(
            number, priority=priority, weight=weight, models=models
        ),
        st.integers(1, 50),
        st.integers(1, 3),
        st.integers(1, 5),
        st.sampled_from([(), ("claude-haiku-*",), ("claude-opus-4-6",)]),
    ),
    max_size=8,
    unique_by=lambda account: account.id,
)


def ready(_account):
    return Standing.READY


def chosen(accounts, key, **options):
    account = choose(accounts, HAIKU, key, ready, **options)
    return account.id if account is not None else None


@given(pools, st.binary(max_size=20), st.data())
def test_the_best_that_may_be_used_is_chosen(pool, key, data):
    stands = {account.id: data.draw(standings) for account in pool}
    tried = data.draw(st.sets(st.sampled_from([1, *stands])))
    found = choose(pool, HAIKU, key, lambda account: stands[account.id], tried)
    usable = [
        (stands[account.id], account.priority)
        for account in pool
        if account.serves(HAIKU)
        and account.id not in tried
        and stands[account.id] is not Standing.CLOSED
    ]
    assert (found and (stands[found.id], found.priority)) == min(usable, default=None)


@given(pools, st.binary(max_size=20), st.randoms())
def test_the_order_of_accounts_does_not_matter(pool, key, random):
    shuffled = random.sample(pool, len(pool))
    assert chosen(pool, key) == chosen(shuffled, key)


@given(pools, st.binary(max_size=20), st.integers(0, 7))
def test_an_account_that_goes_takes_only_its_own_conversations_along(pool, key, gone):
    before = chosen(pool, key)
    left = [account for account in pool if account.id != gone]
    assert chosen(left, key) == before or before == gone


@given(pools, st.binary(max_size=20))
def test_an_account_that_comes_takes_conversations_for_itself_alone(pool, key):
    before = chosen(pool, key)
    after = chosen([*pool, an_account(99, priority=2)], key)
    assert after in (before, 99)


def test_conversations_are_shared_by_weight():
    pool = [an_account(1), an_account(2, weight=2), an_account(3, weight=3)]
    shares = Counter(chosen(pool, key) for key in CONVERSATIONS)
    # Of 3,000 draws 500, 1,000 and 1,500 are expected; four standard deviations are 82 to 110.
    assert shares[1] == pytest.approx(500, abs=82)
    assert shares[2] == pytest.approx(1000, abs=104)
    assert shares[3] == pytest.approx(1500, abs=110)


def test_a_worse_priority_gets_nothing_while_a_better_one_is_ready():
    pool = [an_account(1, priority=20, weight=1000), an_account(2, priority=10)]
    assert {chosen(pool, key) for key in CONVERSATIONS} == {2}


def test_an_account_that_rests_comes_after_a_worse_priority():
    pool = [an_account(1, priority=1), an_account(2, priority=2)]
    stands = {1: Standing.RESTING, 2: Standing.READY}
    assert choose(pool, HAIKU, b"", lambda account: stands[account.id]).id == 2


def test_a_closed_account_is_not_chosen_even_alone():
    assert choose([an_account()], HAIKU, b"", lambda _account: Standing.CLOSED) is None


HELLO = {"role": "user", "content": "Hello!"}
REQUEST = {"system": "Be brief.", "tools": [{"name": "ls"}], "messages": [HELLO]}


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(
            REQUEST | {"messages": [HELLO, {"role": "assistant", "content": "Hi."}, HELLO]},
            id="the conversation grew",
        ),
        pytest.param(REQUEST | {"max_tokens": 9, "stream": True}, id="other parameters"),
        pytest.param(
            REQUEST
            | {
                "system": [
                    {"type": "text", "text": "x-anthropic-billing-header: cch=1;"},
                    {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
                ]
            },
            id="a rolling block and a breakpoint",
        ),
        pytest.param(
            REQUEST
            | {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]},
            id="the same text in a block",
        ),
    ],
)
def test_the_prefix_of_a_conversation_stays(later):
    assert stable_prefix(later) == stable_prefix(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        REQUEST | {"system": "Be long."},
        REQUEST | {"tools": [{"name": "rm"}]},
        REQUEST | {"messages": [{"role": "user", "content": "Bye!"}]},
    ],
    ids=["system", "tools", "first message"],
)
def test_another_conversation_has_another_prefix(other):
    assert stable_prefix(other) != stable_prefix(REQUEST)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": 7, "tools": "ls", "messages": {}},
        {"system": [None, {"text": 7}], "tools": [3, {"name": None}], "messages": ["Hi"]},
        {"messages": [{"role": "user"}, {"role": "user", "content": [{"type": "image"}]}]},
        {"system": "\udcff"},
    ],
)
def test_a_prefix_is_found_in_anything(fields):
    assert len(stable_prefix(fields)) == 16


def test_of_a_long_prompt_the_beginning_counts():
    long = "word " * PART_CHARS_MAX
    assert stable_prefix({"system": long}) == stable_prefix({"system": long + "more"})


def test_keys_do_not_share_an_affinity():
    assert affinity("k1", b"session", b"") != affinity("k2", b"session", b"")


def test_a_session_goes_before_the_prompt():
    assert affinity("k1", b"session", b"one") == affinity("k1", b"session", b"another")
    assert affinity("k1", b"", b"one") != affinity("k1", b"", b"another")
