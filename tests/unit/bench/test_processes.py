from bench.processes import Cores, choose_cores


def test_the_gateway_has_a_core_of_its_own():
    assert choose_cores([3, 1, 2]) == Cores(frozenset({1}), frozenset({2, 3}))


def test_on_one_core_all_share_it():
    assert choose_cores([0]).shared
