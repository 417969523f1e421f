from ipaddress import ip_address

import pytest

from proxy.core.allowance import Allowance, client_of

FIRST, SECOND = client_of(ip_address("192.0.2.1")), client_of(ip_address("192.0.2.2"))


def let_through(allowance, client, times, now_s=100.0):
    return sum(allowance.take(client, now_s) for _time in range(times))


def test_one_client_gets_a_quarter_and_leaves_the_rest():
    allowance = Allowance(40)
    assert let_through(allowance, FIRST, 1000) == 10
    assert let_through(allowance, SECOND, 1000) == 10


def test_all_clients_together_get_the_whole_and_no_more():
    allowance = Allowance(40)
    assert sum(let_through(allowance, client, 10) for client in range(100)) == 40


def test_what_is_remembered_is_bounded():
    allowance = Allowance(40)
    for client in range(100_000):
        allowance.take(client, 100.0)
    assert len(allowance._clients) <= 40


def test_the_next_second_begins_anew():
    allowance = Allowance(40)
    assert [let_through(allowance, FIRST, 20, second) for second in (1.0, 1.9, 2.0)] == [10, 0, 10]


def test_what_is_given_back_counts_for_all_but_not_for_the_client():
    allowance = Allowance(40)
    for _time in range(40):
        assert allowance.take(FIRST, 100.0)
        allowance.give_back(FIRST)
    assert not allowance.take(SECOND, 100.0)


def test_nothing_is_given_back_in_the_second_after():
    allowance = Allowance(40)
    allowance.take(FIRST, 100.0)
    allowance.take(SECOND, 101.0)
    allowance.give_back(FIRST)
    assert let_through(allowance, FIRST, 20, 101.0) == 10


def test_the_smallest_allowance_is_one():
    assert let_through(Allowance(1), FIRST, 5) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::1", "0.0.0.0", False),
    ],
)
def test_a_client_is_an_address_or_a_network_of_them(one, other, same):
    assert (client_of(ip_address(one)) == client_of(ip_address(other))) is same


def test_who_has_no_address_is_one_client():
    assert client_of(None) is None
