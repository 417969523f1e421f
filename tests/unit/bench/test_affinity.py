"""What the choice of accounts is worth, on a part of the stream that the table is made of."""

import random

from bench.affinity import Conversations, measure, requests

STREAM = requests(random.Random(1))[:150]
CONVERSATIONS = Conversations(1)


def test_a_session_that_stays_reads_more_from_the_cache_than_one_that_wanders():
    stays = measure(STREAM, CONVERSATIONS, lambda session, _body: session % 3)
    chance = random.Random(1)
    wanders = measure(STREAM, CONVERSATIONS, lambda _session, _body: chance.randrange(3))
    assert stays.read > wanders.read + 0.05
    assert stays.price < wanders.price


def test_every_token_is_read_or_written_or_plain():
    shares = measure(STREAM, CONVERSATIONS, lambda _session, _body: 0)
    assert 0.99 < shares.read + shares.written <= 1
