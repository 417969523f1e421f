"""`manage.py up` as people run it: a process of its own, from nothing, stopped and killed."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claudcode import env
from claudcode.engines.children import wait_until
from tests.acceptance.simulator_process import SimulatorProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Finds the processes through /proc."),
]
MANAGE = [sys.executable, str(env.ROOT / "manage.py")]
READY = "Ctrl-C stops everything."
STOP_SECONDS_MAX = 10


def outside() -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    ours = ("CLAUDCODE_", "ANTHROPIC_", "DATABASE_URL", "VALKEY_URL", "DJANGO_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {"CLAUDCODE_ENV_FILE": os.devnull}


class Up:
    """A `manage.py up` on `state`, whose output goes to a file."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        descriptor, path = tempfile.mkstemp(dir=state.parent)
        self._output = Path(path)
        with os.fdopen(descriptor, "wb") as output:
            self.process = subprocess.Popen(
                [*MANAGE, "up", "--state", str(state), "--port", "0", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=outside(),
                start_new_session=True,
            )

    def wait_until_ready(self) -> "Up":
        wait_until(lambda: READY in self.output or self.process.poll() is not None, seconds=90)
        assert READY in self.output, self.output
        return self

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def base_url(self) -> str:
        return re.search(r"Base URL +(\S+)", self.output)[1]

    @property
    def key(self) -> str | None:
        found = re.search(r"API key +(sk-cc-\w+)", self.output)
        return found and found[1]

    def pid_of(self, part: str) -> int:
        return int(re.search(rf"{part} started \(pid=(\d+)\)", self.output)[1])

    def stop(self, signum: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(timeout=STOP_SECONDS_MAX)


def manage(state: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MANAGE, *words, "--state", str(state)],
        input=typed,
        capture_output=True,
        text=True,
        env=outside(),
        check=False,
        timeout=120,
    )


def processes_of(state: Path) -> list[str]:
    """The command lines of living processes that were started for `state`, whoever owns them."""
    mark = f"CLAUDCODE_STATE={state}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes() + b"\0":
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # It has just ended.
            continue
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cc-up-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Up]]:
    """Starts an `up` that ends with the tests, whatever becomes of them."""
    started: list[Up] = []

    def start(state: Path, *options: str) -> Up:
        started.append(Up(state, *options))
        return started[-1].wait_until_ready()

    yield start
    for up in started:
        up.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def up(folder: Path, start: Callable[..., Up]) -> Up:
    """A first start, with two gateway processes."""
    return start(folder / "state", "--workers", "2")


@pytest.fixture(scope="module")
def left(folder: Path, start: Callable[..., Up]) -> Up:
    """One that Ctrl-C has stopped: its state is to be copied, for tables take long to make."""
    up = start(folder / "left")
    assert up.stop(signal.SIGINT) == 0
    assert processes_of(up.state) == []
    return up


@pytest.fixture
def state(left: Up, folder: Path) -> Path:
    """A state of one's own, with what another `up` has left."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "state"
    subprocess.run(["cp", "-a", left.state, copy], check=True)
    copy.parent.chmod(0o755)
    return copy


def models_status(up: Up, key: str) -> int:
    request = urllib.request.Request(f"{up.base_url}/v1/models", headers={"x-api-key": key})
    with urllib.request.urlopen(request) as answer:
        return answer.status


def ask(up: Up, key: str, **headers: str) -> http.client.HTTPResponse:
    """Send a message; return the answer, closed."""
    question = {"model": "claude-haiku-4-5", "max_tokens": 20}
    question["messages"] = [{"role": "user", "content": "[[sim:tokens=5]]"}]
    request = urllib.request.Request(
        f"{up.base_url}/v1/messages",
        json.dumps(question).encode(),
        {"x-api-key": key, "content-type": "application/json"} | headers,
    )
    with urllib.request.urlopen(request) as answer:
        return answer


def celery(up: Up, part: str) -> list[int]:
    """The process that Celery's worker or beat of `up` is, or none while it is started again."""
    children = Path(f"/proc/{up.pid_of(part)}/task/{up.pid_of(part)}/children").read_text()
    return [int(pid) for pid in children.split()]


def ledger(state: Path) -> list[dict[str, object]]:
    exported = manage(state, "ledger_export", "--format", "jsonl")
    return [json.loads(line) for line in exported.stdout.splitlines()]


def test_the_printed_curl_answers_when_pasted(up):
    pasted = up.output.partition("Try it:")[2].partition("Ctrl-C")[0]
    answer = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["type"] == "message"


def test_what_was_asked_is_in_the_ledger_soon(up):
    assert wait_until(lambda: len(ledger(up.state)) > 0, seconds=20)


def test_the_operator_has_the_printed_password_until_the_first_sign_in(up):
    password = re.search(r"Password +(\S+)", up.output)[1]
    script = (
        "from django.contrib.auth.models import User; u = User.objects.get(username='operator');"
        f"print(u.check_password({password!r}), u.is_superuser, hasattr(u, 'temporary_password'))"
    )
    assert manage(up.state, "shell", "-v0", "-c", script).stdout.strip() == "True True True"


def test_the_simulator_is_announced(up):
    assert "THE SIMULATOR" in up.output


def test_the_doctor_beside_it_says_that_the_simulator_answers(up):
    found = json.loads(manage(up.state, "doctor", "--json").stdout)["findings"]
    upstream = {one["name"]: one for one in found if one["name"].startswith("upstream")}
    assert "The simulator answers" in upstream["upstream"]["seen"]
    assert {one["level"] for one in upstream.values()} == {"warning", "ok"}


def test_the_page_at_the_root_names_the_base_url(up):
    with urllib.request.urlopen(up.base_url) as page:
        assert f"{up.base_url}/v1/messages" in page.read().decode()


def test_a_key_issued_by_another_command_works_at_once(up):
    issued = json.loads(manage(up.state, "apikey_issue", "--name", "another", "--json").stdout)
    assert models_status(up, issued["secret"]) == 200


def test_a_second_one_on_the_same_state_is_refused(up):
    refused = manage(up.state, "up", "--port", "0")
    assert refused.returncode == 1
    assert f"{up.state} is in use by `manage.py up` (process {up.process.pid})" in refused.stderr


def test_a_port_in_use_is_said(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = manage(folder / "other", "up", "--port", port)
    assert refused.returncode == 1
    assert f"Cannot listen on port {port} of 127.0.0.1" in refused.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_starts_again_with_the_same_data_and_stops_everything_in_time(
    left, state, start, signum
):
    again = start(state)
    assert again.key is None
    assert "Password" not in again.output
    assert models_status(again, left.key) == 200
    assert again.stop(signum) == 0
    assert processes_of(state) == []


def test_kill_leaves_no_orphans_and_it_starts_again(state, start):
    killed = start(state, "--workers", "2")
    killed.process.kill()
    killed.process.wait()
    assert wait_until(lambda: processes_of(killed.state) == [], STOP_SECONDS_MAX)
    assert start(killed.state).stop(signal.SIGINT) == 0


def test_an_account_that_is_added_takes_the_simulators_place(left, state, start):
    up = start(state)
    with SimulatorProcess() as own:
        account = ("own", "--base-url", own.url)
        added = manage(up.state, "upstream_add", *account, typed="sk-ant-of-my-own-account-AbCd")
        assert added.returncode == 0, added.stderr
        uncached = {"x-no-cache": "true"}

        def answered() -> bool:
            return ask(up, left.key, **uncached).status == 200

        assert wait_until(lambda: answered() and own.entries(), seconds=5)
        served = len(own.entries())
        assert [answered() for _ in range(5)] == [True] * 5
        assert len(own.entries()) == served + 5
        up.stop(signal.SIGTERM)
        again = start(up.state)
        assert f"own: {own.url}, sk-ant-…AbCd, set " in again.output
        assert "SIMULATOR" not in again.output
        assert again.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("part", ["worker", "beat"])
def test_what_celery_runs_is_started_again_when_it_dies(up, part):
    (killed,) = celery(up, part)
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: celery(up, part) not in ([], [killed]), seconds=10)
    assert "it is started again in 1 s" in up.output
    before = len(ledger(up.state))
    assert ask(up, up.key).status == 200
    assert wait_until(lambda: len(ledger(up.state)) > before, seconds=30)


def test_when_the_gateway_dies_all_end_with_an_error(state, start):
    started = start(state)
    os.kill(started.pid_of("gateway"), signal.SIGKILL)
    assert started.process.wait(timeout=STOP_SECONDS_MAX) == 1
    assert "A process ended that should not have" in started.output
    assert processes_of(started.state) == []


def test_commands_start_the_engines_for_themselves_and_stop_them(folder):
    state = folder / "alone"
    assert manage(state, "migrate").returncode == 0
    assert manage(state, "apikey_issue", "--name", "first").returncode == 0
    assert processes_of(state) == []
