"""`manage.py runserver`, as developers start it: daphne serves the data plane too."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.test import Client
from websockets.sync.client import connect

from claudcode import env
from tests.acceptance.developer import a_name, a_question, events
from tests.acceptance.gateway_process import UPSTREAM_CREDENTIAL, free_port
from tests.waiting import wait_until

START_S = 60.0
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Runserver:
    """Where it listens."""

    url: str

    def serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=START_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False


@pytest.fixture(scope="module")
def gateway(installation, simulator, tmp_path_factory) -> Iterator[Runserver]:
    """The development server in the place of the gateway."""
    port = str(free_port())
    environment = os.environ | {
        "DATABASE_URL": installation.database_url,
        "VALKEY_URL": installation.valkey_url,
        "ANTHROPIC_BASE_URL": simulator.url,
        "ANTHROPIC_API_KEY": UPSTREAM_CREDENTIAL,
    }
    command = [sys.executable, "manage.py", "runserver", "--noreload", port]
    log = tmp_path_factory.mktemp("runserver") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=env.ROOT, env=environment, stdout=output, stderr=output
        )
    server = Runserver(f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: process.poll() is not None or server.serves(), START_S)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(STOP_S)


def test_a_message_arrives(developer):
    answer = developer.ask("[[sim:say=Hello]]")
    assert answer.json()["content"][0]["text"] == "Hello"
    assert answer.headers["server"] == "daphne"


def test_a_stream_arrives_as_it_is_made(developer):
    with developer.listen("[[sim:tokens=5]] [[sim:stall after=4 seconds=20]]") as answer:
        first = next(answer.iter_lines())
    assert first == "event: message_start"


def test_a_whole_stream_arrives(developer):
    answer = developer.ask("[[sim:tokens=5]]", stream=True)
    assert (events(answer)[0], events(answer)[-1]) == ("message_start", "message_stop")


def test_a_client_that_hangs_up_leaves_nothing_behind(developer, simulator, http):
    name = a_name()
    question = a_question("[[sim:tokens=1000]] [[sim:rate=10]]", stream=True)
    headers = developer.headers | {"x-exchange-id": name}
    url = f"{developer.base_url}/v1/messages"
    with http.stream("POST", url, json=question, headers=headers) as answer:
        lines = answer.iter_lines()  # Kept: without its iterator the connection is closed.
        next(lines)
        assert developer.status()["rate_limit"]["in_flight"] == 1
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 0)
    entry = simulator.wait_for_entry(lambda one: one["headers"].get("x-exchange-id") == name)
    assert entry["outcome"] == "hung_up"


def test_it_holds_the_socket_of_usage(gateway, developer):
    client = Client()
    client.post("/usage/sign-in/", {"api_key": developer.secret})
    session = client.cookies["sessionid"].value
    headers = {"Origin": gateway.url, "Cookie": f"sessionid={session}"}
    address = gateway.url.replace("http:", "ws:") + "/usage/live"
    with connect(address, additional_headers=headers, proxy=None) as socket:
        assert json.loads(socket.recv(timeout=START_S))["requests"]["exact"] == "0"
