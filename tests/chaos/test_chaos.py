"""The short form of `make chaos`: one round of every attack, with short leases."""

import subprocess
import sys

import pytest

from tests.chaos.programs import ROOT

# One round takes about a minute and a half; a busy machine takes its time to start processes.
SECONDS_MAX = 600


@pytest.mark.slow
def test_no_exchange_is_lost_or_counted_twice_whatever_is_killed():
    command = [sys.executable, "-m", "tests.chaos", "--short"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
