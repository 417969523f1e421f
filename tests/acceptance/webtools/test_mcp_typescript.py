"""The hosted MCP server through the official TypeScript SDK, today's and one a year old."""

import json
import subprocess

import pytest

from tests.acceptance.clients.conftest import NODE, node  # noqa: F401
from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.webtools.test_mcp import TOOLS
from webtools.models import ToolRule

pytestmark = pytest.mark.node
SDKS = ["@modelcontextprotocol/sdk", "mcp-sdk-1.22"]
PATIENCE_S = 60
CALLS = [
    ("search", {"query": "owls", "max_results": 2}, "Fictional page 1 about owls"),
    ("extract", {"urls": ["https://a.example/x"]}, "Fictional text of https://a.example/x"),
    ("crawl", {"url": "https://a.example", "limit": 2}, "a.example/made-up-2"),
    ("map", {"url": "https://a.example"}, "https://a.example/made-up-1"),
    ("key_status", {}, '"status": "active"'),
    ("usage", {"days": 7}, '"days": 7'),
    ("list_models", {}, "claude-haiku-4-5"),
]


@pytest.fixture(params=SDKS)
def use(request, node, gateway, tmp_path):  # noqa: F811
    """Let the SDK list the tools and make calls; returns what it printed."""

    def use(secret: str, *calls: tuple[str, dict]) -> dict:
        words = [request.param, f"{gateway.url}/mcp", secret, json.dumps(calls)]
        done = subprocess.run(
            [node, str(NODE / "mcp.mjs"), *words],
            env=bare_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return json.loads(done.stdout)

    return use


def test_every_tool_is_listed_and_answers(use, developer):
    printed = use(developer.secret, *[(name, given) for name, given, _said in CALLS])
    assert printed["tools"] == TOOLS
    for result, (_name, _given, said) in zip(printed["results"], CALLS, strict=True):
        assert not result.get("isError")
        assert said in result["content"][0]["text"]
        assert result["structuredContent"]


def test_a_wrong_key_is_refused(use, developer):
    wrong = developer.secret[:-1] + ("a" if developer.secret[-1] != "a" else "b")
    assert "401" in use(wrong)["error"] or "API key" in use(wrong)["error"]


def test_a_tool_that_is_switched_off_says_so(use, a_developer):
    developer = a_developer()
    ToolRule.objects.create(apikey=developer.apikey, enabled=False)
    [result] = use(developer.secret, ("search", {"query": "owls"}))["results"]
    assert result["isError"]
    assert "switched off" in result["content"][0]["text"]
