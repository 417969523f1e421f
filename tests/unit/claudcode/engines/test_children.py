"""Children end with their parent, also when it died before they could ask for that."""

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal is Linux'")

# Starts a child that says its name, then asks to end with its parent once that is dead, or before.
PARENT = """
import os, sys, time
from claudcode.engines.children import end_with_parent

late = sys.argv[1] == "late"
parent = os.getpid()
if os.fork() == 0:
    while late and os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent(parent)
    print("asked", flush=True)
    time.sleep(60)
else:
    time.sleep(0 if late else 60)
"""


def started(when):
    return subprocess.Popen([sys.executable, "-c", PARENT, when], stdout=subprocess.PIPE, text=True)


def test_a_child_ends_when_its_parent_is_killed():
    with started("in time") as parent:
        assert parent.stdout.readline() == "asked\n"
        parent.kill()
        began = time.monotonic()
        # Its end of the pipe is closed when it ends.
        assert parent.stdout.read() == ""
        assert time.monotonic() - began < 30


def test_a_child_whose_parent_is_dead_already_ends():
    with started("late") as parent:
        assert parent.stdout.read() == ""
