"""The image's recipe and the compose file, by what others made to read them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from claudcode import env

DEPLOY = env.ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_hadolint_finds_nothing():
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run(
        [program, "--strict-labels", str(DEPLOY / "Dockerfile")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_one():
    assert PyCompose.from_json(json.dumps(COMPOSE)).service_names() == [
        "postgres", "valkey", "migrate", "gateway", "worker", "beat",
    ]  # fmt: skip


def test_the_specification_would_catch_a_slip():
    slipped = json.dumps(COMPOSE).replace("stop_grace_period", "stop_grace_perod")
    with pytest.raises(ValueError, match="stop_grace_perod"):
        PyCompose.from_json(slipped)


def test_a_gateway_has_time_for_its_streams():
    seconds = int(env.REGISTRY["CLAUDCODE_SHUTDOWN_SECONDS_MAX"].default)
    assert COMPOSE["services"]["gateway"]["stop_grace_period"] == f"{seconds + 10}s"
