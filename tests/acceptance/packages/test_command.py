"""The command `claudcode-mcp-server` of both packages, through the official client on stdio."""

import subprocess
from contextlib import asynccontextmanager

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.packages.test_classes import TOOLS


@pytest.fixture
def connect(command, tmp_path):
    """Start the command as a client does, with a key in its environment."""

    @asynccontextmanager
    async def connected(gateway, secret):
        environment = {"CLAUDCODE_API_KEY": secret, "HOME": str(tmp_path)}
        program, *words = [*command, "--gateway", gateway]
        server = StdioServerParameters(command=program, args=words, env=environment)
        async with Client(server) as client:
            yield client

    return connected


async def test_a_client_on_stdio_lists_and_calls_the_gateways_tools(connect, developer):
    """The Python package speaks today's protocol, the one for Node.js that with a handshake."""
    progress = []

    async def told(done, total, message):
        progress.append((done, total, message))

    async with connect(developer.base_url + "/v1", developer.secret) as client:
        assert (client.server_info.name, client.server_info.version) == (
            "claudcode-mcp-server",
            "1.0.1",
        )
        assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
        found = await client.call_tool("search", {"query": "owls", "max_results": 2})
        crawled = await client.call_tool(
            "crawl", {"url": "https://a.example", "limit": 2}, progress_callback=told
        )
        wrong = await client.call_tool("search", {})
    assert "Fictional page 1 about owls" in found.content[0].text
    assert found.structured_content["results"]
    assert not crawled.is_error
    assert "https://a.example" in progress[0][2]
    assert wrong.is_error


async def test_a_client_on_stdio_is_told_why_nothing_works(connect, developer):
    async with connect(developer.base_url, "sk-cc-no") as client:
        with pytest.raises(MCPError, match="not a valid API key"):
            await client.list_tools()
    async with connect("http://127.0.0.1:9", developer.secret) as client:
        with pytest.raises(MCPError, match=r"http://127.0.0.1:9 did not answer"):
            await client.call_tool("search", {"query": "owls"})


def test_the_command_says_what_it_lacks(command, tmp_path):
    def run(*words, **variables):
        environment = bare_environment(tmp_path) | variables
        return subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, timeout=60
        )

    assert run("--version").stdout == "1.0.1\n"
    lacking = run("--gateway", "https://gateway.example")
    assert (lacking.returncode, lacking.stderr) == (
        1,
        "claudcode-mcp-server: set CLAUDCODE_API_KEY\n",
    )
    wrong = run("--gateway", "gateway.example", CLAUDCODE_API_KEY="sk-cc-x")
    assert wrong.returncode == 1
    assert "gateway must be an address" in wrong.stderr
