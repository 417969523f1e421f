"""The reviver as `manage.py up` runs it: a process that keeps another one running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from claudcode import env
from tests.waiting import wait_until

COUNTS_HOW_OFTEN_IT_IS_TOLD = """
    trap 'told=$((told + 1))' TERM
    echo $$
    while [ -z "$told" ]; do sleep 0.05; done
    sleep 0.3
    exit $told
"""


@pytest.fixture
def start():
    """Starts a reviver of a shell script, in a process group of its own."""
    started = []

    def start(script):
        words = [sys.executable, "-m", "claudcode.reviver", "--", "sh", "-c", script]
        process = subprocess.Popen(
            words,
            cwd=env.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_program_that_ends_is_started_again_after_longer_and_longer_pauses(start):
    reviver = start("exit 3")
    lines = [reviver.stderr.readline() for _end in range(3)]
    assert ["in 1 s" in lines[0], "in 2 s" in lines[1], "in 4 s" in lines[2]] == [True] * 3
    assert all("sh -c 'exit 3' ended with 3" in line for line in lines)


def test_told_to_stop_in_a_pause_it_starts_nothing_more(start):
    reviver = start("echo started; exit 3")
    reviver.stderr.readline()
    reviver.terminate()
    assert reviver.wait(timeout=5) == 3
    assert reviver.stdout.read() == "started\n"


def test_the_program_is_told_to_stop_once_and_its_exit_code_passed_on(start):
    reviver = start(COUNTS_HOW_OFTEN_IT_IS_TOLD)
    reviver.stdout.readline()
    os.killpg(reviver.pid, signal.SIGTERM)
    reviver.terminate()
    assert reviver.wait(timeout=5) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="The kernel's word that a parent died.")
def test_killed_it_takes_the_program_along(start):
    reviver = start(COUNTS_HOW_OFTEN_IT_IS_TOLD)
    pid = int(reviver.stdout.readline())
    reviver.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def _is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
