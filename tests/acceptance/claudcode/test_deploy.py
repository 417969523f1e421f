"""What is under deploy/, as far as it can be tried here; docs/deploy.md says how far."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from claudcode import env
from tests.acceptance.developer import Developer, a_question, events
from tests.acceptance.gateway_process import GatewayProcess, free_port
from tests.nginx import NGINX, configuration
from tests.waiting import wait_until

DEPLOY = env.ROOT / "deploy"
CADDY = shutil.which("caddy")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
OURS = ["gateway", "worker", "beat", "migrate"]

needs_nginx = pytest.mark.skipif(not os.path.exists(NGINX), reason="nginx is not installed")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="Caddy is not installed")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


@pytest.fixture(scope="module")
def behind_nginx(gateway: GatewayProcess, tmp_path_factory) -> Iterator[str]:
    """The address of nginx with the example's settings, but for TLS and the gateway's port."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    config = folder / "nginx.conf"
    config.write_text(configuration(folder, f"127.0.0.1:{port}", [f"127.0.0.1:{gateway.port}"]))
    command = [NGINX, "-p", str(folder), "-c", str(config)]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL) as nginx:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), 15)
        yield url
        nginx.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@needs_nginx
def test_a_stream_passes_nginx_event_by_event(behind_nginx: str, developer: Developer):
    answer = developer.http.post(
        f"{behind_nginx}/v1/messages", json=a_question(stream=True), headers=developer.headers
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer)[0] == "message_start"
    assert events(answer)[-1] == "message_stop"


@needs_nginx
def test_a_body_above_nginxs_own_bound_arrives(behind_nginx: str, developer: Developer):
    answer = developer.http.post(
        f"{behind_nginx}/v1/messages", json=a_question("x" * 3_000_000), headers=developer.headers
    )
    assert "nginx" not in answer.text


@pytest.fixture(scope="module")
def behind_caddy(gateway: GatewayProcess, tmp_path_factory) -> Iterator[str]:
    """The address of Caddy with the example's settings, but for TLS and the gateway's port."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    url = f"http://127.0.0.1:{port}"
    site = (DEPLOY / "Caddyfile").read_text()
    site = site.replace("claude.example.com", url).replace(
        "127.0.0.1:8000", f"127.0.0.1:{gateway.port}"
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{site}")
    command = [str(CADDY), "run", "--config", str(folder / "Caddyfile")]
    homes = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}
    with subprocess.Popen(command, env=homes, stderr=subprocess.DEVNULL) as caddy:
        wait_until(lambda: _answers(url), 15)
        yield url
        caddy.terminate()


@needs_caddy
def test_caddy_takes_the_example_as_it_is(tmp_path: Path):
    command = [str(CADDY), "validate", "--adapter", "caddyfile", "--config"]
    homes = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}
    done = subprocess.run(
        [*command, str(DEPLOY / "Caddyfile")], capture_output=True, text=True, env=homes
    )
    assert done.returncode == 0, done.stderr
    assert '"level":"warn"' not in done.stderr


@needs_caddy
def test_a_stream_passes_caddy_event_by_event(behind_caddy: str, developer: Developer):
    answer = developer.http.post(
        f"{behind_caddy}/v1/messages", json=a_question(stream=True), headers=developer.headers
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer)[0] == "message_start"
    assert events(answer)[-1] == "message_stop"


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(unit: Path, tmp_path: Path):
    copy = tmp_path / unit.name
    # Whether the program is there is not the unit's question.
    copy.write_text(re.sub(r"ExecStart=/opt\S+", "ExecStart=/bin/true", unit.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True
    )
    assert unit.name not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", OURS)
def test_our_containers_run_without_powers(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["env_file"] == "claudcode.env"


def test_valkey_keeps_what_it_was_told_and_evicts_answers_alone():
    command = " ".join(SERVICES["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory 512mb --maxmemory-policy volatile-lfu" in command


def test_the_image_is_run_by_nobody_and_has_no_secret():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert bases == ["FROM ${PYTHON_IMAGE} AS build", "FROM ${PYTHON_IMAGE}"]
    assert "ARG PYTHON_IMAGE=python:3.12-slim-bookworm" in lines
    assert "USER 10001:10001" in lines
    final = "\n".join(lines[lines.index(bases[-1]) :])
    assert "pip" not in final
    assert "apt-get" not in final
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {".env", ".env.*", "var", ".git"} <= set(ignored)
