"""`ClaudCodeMcp` in programs of Python and of Node.js, against the gateway's own tools."""

import json

import pytest

from keys.services import apikey_revoke
from tests.acceptance.packages.test_sessions import open_keys
from tests.waiting import wait_until
from webtools.models import ToolRule

TOOLS = ["search", "extract", "crawl", "map", "key_status", "usage", "list_models"]

PYTHON = """
import json, sys
from claudcode_mcp_server import ClaudCodeMcp, GatewayError
gateway, key = sys.argv[1:3]
def said(work):
    try:
        return work()
    except GatewayError as error:
        return [type(error).__name__, str(error), error.status]
"""
NODE = """
import { ClaudCodeMcp } from "claudcode-mcp-server";
const [gateway, apiKey] = process.argv.slice(1);
const said = async (work) => {
  try {
    return await work();
  } catch (error) {
    return [error.name, error.message, error.status ?? null];
  }
};
"""

USES = {
    "python": PYTHON
    + """
with ClaudCodeMcp(api_key=key, gateway=gateway) as cc:
    found = cc.call("search", {"query": "owls", "max_results": 2})
    told = [
        [tool["name"] for tool in cc.tools()], cc.tools()[0]["input_schema"]["required"],
        found.text, found.data["credits"], cc.key_status()["status"],
        said(lambda: cc.call("search", {})), said(lambda: cc.call("nothing")),
    ]
print(json.dumps(told))
""",
    "async": PYTHON
    + """
import asyncio
from claudcode_mcp_server import AsyncClaudCodeMcp
async def main():
    async with AsyncClaudCodeMcp(api_key=key, gateway=gateway) as cc:
        found = await cc.call("search", {"query": "owls", "max_results": 2})
        async def failed(name):
            try:
                await cc.call(name)
            except GatewayError as error:
                return [type(error).__name__, str(error), error.status]
        tools = await cc.tools()
        return [
            [tool["name"] for tool in tools], tools[0]["input_schema"]["required"],
            found.text, found.data["credits"], (await cc.key_status())["status"],
            await failed("search"), await failed("nothing"),
        ]
print(json.dumps(asyncio.run(main())))
""",
    "node": NODE
    + """
const cc = new ClaudCodeMcp({ apiKey, gateway });
const found = await cc.call("search", { query: "owls", max_results: 2 });
const tools = await cc.tools();
const told = [
  tools.map((tool) => tool.name), tools[0].input_schema.required,
  found.text, found.data.credits, (await cc.keyStatus()).status,
  await said(() => cc.call("search", {})), await said(() => cc.call("nothing")),
];
cc.close();
console.log(JSON.stringify(told));
""",
}
REFUSALS = {
    "python": PYTHON + "print(json.dumps(said(lambda: ClaudCodeMcp(key, gateway)), default=str))",
    "node": NODE
    + "console.log(JSON.stringify(await said(() => new ClaudCodeMcp({ apiKey, gateway }))));",
}
LANGUAGES = [
    pytest.param("python", id="python"),
    pytest.param("node", marks=pytest.mark.node, id="node"),
]


@pytest.fixture
def told(request):
    """What a program prints as JSON, in the language named first."""

    def run(language, program, *words):
        project = request.getfixturevalue(f"{language}_project")
        return json.loads(project.prints(program, *words))

    return run


@pytest.mark.parametrize(
    ("language", "use"),
    [
        pytest.param("python", "python", id="python"),
        pytest.param("python", "async", id="python-async"),
        pytest.param("node", "node", marks=pytest.mark.node, id="node"),
    ],
)
def test_programs_list_and_call_the_tools(told, installation, developer, language, use):
    gateway = developer.base_url + "/v1"
    tools, required, text, credits, status, bad, unknown = told(
        language, USES[use], gateway, developer.secret
    )
    assert (tools, required) == (TOOLS, ["query"])
    assert "Fictional page 1 about owls" in text
    assert (credits, status) == (1, "active")
    assert bad[0] == unknown[0] == "ToolFailed"
    assert "query" in bad[1]
    assert "There is no tool nothing" in unknown[1]
    assert developer.apikey.pk not in open_keys(installation)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_dead_key_is_told_so_at_once(told, developer, language):
    apikey_revoke(apikey=developer.apikey, acting_user=None)
    wait_until(lambda: developer.get("/v1/models").status_code == 401)
    kind, message, status = told(language, REFUSALS[language], developer.base_url, developer.secret)
    assert (kind, status) == ("KeyRefused", 401)
    assert "revoked" in message


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_key_that_may_not_use_web_tools_is_warned(request, developer, language):
    ToolRule.objects.create(apikey=developer.apikey, enabled=False)
    program = REFUSALS[language]
    project = request.getfixturevalue(f"{language}_project")
    done = project.run(program, developer.base_url, developer.secret)
    assert "has not allowed this key to use web tools" in done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_gateway_that_is_not_there_is_told_so(told, language):
    kind, message, _status = told(language, REFUSALS[language], "http://127.0.0.1:9/v1", "sk-cc-x")
    assert kind == "GatewayUnreachable"
    assert "http://127.0.0.1:9 did not answer" in message


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_that_fails_closes_its_session(request, installation, developer, language):
    ends = {
        "python": PYTHON + "cc = ClaudCodeMcp(key, gateway)\nraise SystemExit(3)",
        "node": NODE + "const cc = new ClaudCodeMcp({ apiKey, gateway });\nprocess.exit(3);",
    }
    project = request.getfixturevalue(f"{language}_project")
    assert project.run(ends[language], developer.base_url, developer.secret).returncode == 3
    assert developer.apikey.pk not in open_keys(installation)


def test_the_names_of_the_documentation_are_the_official_servers(python_project):
    program = """
import asyncio, json
from mcp import Client
from mcp.server import MCPServer
from hono_mcp import McpServer
from tavily_mcp import TavilyMcp
async def names(server):
    async with Client(server) as client:
        return [tool.name for tool in (await client.list_tools()).tools]
own = McpServer(name="own", version="1.0.0")
own.add_tool(lambda a: a, name="echo", description="Say it again.")
assert isinstance(own, MCPServer)
print(json.dumps([asyncio.run(names(own)), asyncio.run(names(TavilyMcp("tvly-x").server))]))
"""
    own, tavily = json.loads(python_project.prints(program))
    assert own == ["echo"]
    assert tavily == ["search", "extract", "crawl", "map"]


def test_tavily_mcp_speaks_to_tavily(python_project, developer):
    program = """
from sys import argv
from tavily_mcp import TavilyMcp
tavily = TavilyMcp(api_key=argv[2], api_base_url=argv[1] + "/tavily")
print(tavily.search("owls", max_results=2)["results"][0]["title"])
print(tavily.map("https://a.example")["results"])
print(tavily.extract(["https://a.example/x"])["results"][0]["url"])
print(len(tavily.crawl("https://a.example", limit=2)["results"]))
"""
    printed = python_project.prints(program, developer.base_url, developer.secret)
    assert "owls" in printed
    assert printed.splitlines()[2:] == ["https://a.example/x", "2"]


@pytest.mark.node
def test_the_wrappers_export_the_real_packages_and_the_documented_classes(node_project):
    program = """
import * as hono from "@hono/mcp";
import * as real from "hono-mcp";
import { TavilyMcp } from "tavily-mcp";
const missing = Object.keys(real).filter((name) => hono[name] !== real[name]);
const server = new hono.McpServer({ name: "own", version: "1.0.0" });
const tools = await new TavilyMcp({ apiKey: "tvly-x" }).tools();
console.log(JSON.stringify([missing, typeof server.registerTool, tools.map((tool) => tool.name)]));
"""
    missing, method, tools = json.loads(node_project.prints(program))
    assert (missing, method) == ([], "function")
    assert {"tavily_search", "tavily_extract", "tavily_crawl", "tavily_map"} <= set(tools)
