import os

import pytest

from bench import proc

STAT = "4321 (a (b) c) S 17 4321 4321 0 -1 4194560 9000 0 1 0 250 75 0 0 20 0 9 0 123456 1 2"


def test_cpu_ticks_are_user_and_system_time():
    assert proc.parse_cpu_ticks(STAT) == 250 + 75


def test_a_name_may_hold_brackets_and_blanks():
    assert proc.parse_parent(STAT) == 17


@pytest.mark.parametrize(
    ("status", "resident_kb"),
    [
        pytest.param("Name:\tpython\nVmHWM:\t  20 kB\nVmRSS:\t   12 kB\n", 12, id="running"),
        pytest.param("Name:\tpython\nState:\tZ (zombie)\n", 0, id="ended"),
    ],
)
def test_resident_memory_is_the_rss_line(status, resident_kb):
    assert proc.parse_resident_kb(status) == resident_kb


def test_a_process_is_in_its_own_family():
    assert os.getpid() in proc.family(os.getpid())


def test_processor_time_only_grows():
    before = proc.cpu_seconds([os.getpid()])
    assert proc.cpu_seconds([os.getpid()]) >= before > 0
