from bench.stacks import hottest

STACKS = """\
_run_module_as_main (<frozen runpy>);work (a.py:1);parse (b.py:7) 3
_run_module_as_main (<frozen runpy>);work (a.py:2) 1
thread (threading.py:9);wait (threading.py:3) 90
"""


def test_functions_are_ranked_by_time_of_their_own_on_the_main_thread():
    assert hottest(STACKS, 2) == [("parse (b.py)", 75.0, 75.0), ("work (a.py)", 25.0, 100.0)]
