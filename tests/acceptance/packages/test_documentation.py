"""The documentation's samples of web tools run as they stand there, host and key apart.

They import `McpServer`, `TavilyMcp` and `ClaudCodeMcp`, all from packages that the gateway serves.
The simulator searches before it answers, so the answer holds what the search returned; another
process of the gateway than the one that opened the session may give it.
"""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from redis.client import PubSub

from tests.acceptance.clients.test_documentation import HOST, KEY, samples
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation
from tests.acceptance.simulator_process import SimulatorProcess
from webtools.sessions import CHANNEL

NOTHING = {"data": "0 0"}
QUERY = {"query": "latest news"}
SEARCH = f"tool=web_search rounds=1 input='{json.dumps(QUERY)}'"
# Without a word before: the samples print the first block of the answer.
SILENTLY = 'say="" rounds=1'
FOUND = "Fictional page 1 about latest news"
TITLE = "MCP — Web Search & Tools"
PYTHON = r"^from hono_mcp .*\n(?:.*\n)*?print\(.*\)$"
TYPESCRIPT = r"^import \{ McpServer \} .*\n(?:.*\n)*?console\.log\(.*\);$"


@pytest.fixture(scope="module")
def gateway(shared_installation: Installation) -> Iterator[GatewayProcess]:
    """Two processes, and a model that always searches."""
    with (
        SimulatorProcess("--mark", SEARCH, "--mark", SILENTLY) as simulator,
        GatewayProcess(
            shared_installation, simulator.url, workers=2, TAVILY_STAND_IN_URL=simulator.url
        ) as gateway,
    ):
        yield gateway


def ready(pattern: str, developer) -> str:
    (sample,) = samples(TITLE, pattern)
    assert HOST in sample
    assert KEY in sample
    return sample.replace(HOST, developer.base_url).replace(KEY, developer.secret)


class Announcements:
    """What gateway processes are told of the sessions of one key."""

    def __init__(self, channel: PubSub, apikey_id: int) -> None:
        self._channel = channel
        self._apikey_id = apikey_id

    def read(self, count: int) -> list[bool]:
        """Return whether the key had a session at each of the next `count` changes."""
        heard: list[bool] = []
        deadline = time.monotonic() + 10
        while len(heard) < count and time.monotonic() < deadline:
            message = self._channel.get_message(timeout=0.1)
            apikey_id, left_ms = (message or NOTHING)["data"].split()
            if int(apikey_id) == self._apikey_id:
                heard.append(int(left_ms) > 0)
        return heard


@pytest.fixture
def announcements(installation, developer) -> Iterator[Announcements]:
    with installation.valkey() as valkey, contextlib.closing(valkey.pubsub()) as channel:
        channel.subscribe(CHANNEL)
        assert channel.get_message(timeout=5)["type"] == "subscribe"
        yield Announcements(channel, developer.apikey.pk)


def test_the_python_sample_runs_inside_a_tool_session(python_project, developer, announcements):
    printed = python_project.prints(ready(PYTHON, developer))
    assert FOUND in printed
    assert announcements.read(2) == [True, False]


@pytest.mark.node
def test_the_typescript_sample_runs_inside_a_tool_session(node_project, developer, announcements):
    printed = node_project.prints(ready(TYPESCRIPT, developer))
    assert FOUND in printed
    assert announcements.read(2) == [True, False]
