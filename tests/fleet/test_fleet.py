"""The short form of `make cluster`: a primary of each store fails over, all gateways restart."""

import os
import subprocess
import sys

import pytest

from tests.chaos.programs import ROOT
from tests.fleet import network
from tests.nginx import NGINX

# A minute and a half on two idle cores; a busy machine takes its time to start thirteen processes.
SECONDS_MAX = 600


@pytest.fixture
def _hosts_can_be_made() -> None:
    missing = network.missing() or ("" if os.path.exists(NGINX) else "nginx is not installed")
    if missing:
        pytest.skip(missing)


@pytest.mark.slow
@pytest.mark.usefixtures("_hosts_can_be_made")
def test_several_hosts_keep_the_promises_while_one_after_the_other_fails():
    command = [sys.executable, "-m", "tests.fleet", "--short"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
