"""What the TypeScript package promises to compilers, and that its JavaScript is its own."""

import shutil
import subprocess

import pytest

from packages import build

pytestmark = pytest.mark.node

PROGRAM = """
import { StreamableHTTPTransport, McpServer } from "@hono/mcp";
import { ClaudCodeMcp, type ToolResult } from "claudcode-mcp-server";
import { TavilyMcp } from "tavily-mcp";
import Anthropic from "@anthropic-ai/sdk";

const cc = new ClaudCodeMcp({ apiKey: "sk-cc-x", gateway: "https://gateway.example" });
export const tools: Anthropic.Messages.Tool[] = await cc.tools();
export const found: ToolResult = await cc.call("search", { query: "owls" });
export const own = [new McpServer({ name: "own", version: "1" }), StreamableHTTPTransport];
export const pages: string = await new TavilyMcp().search("owls");
// @ts-expect-error: a key is needed.
export const wrong = new ClaudCodeMcp({ gateway: "https://gateway.example" });
"""
STRICT = ["--strict", "--skipLibCheck", "--noEmit", "--target", "es2022", "--module", "nodenext"]


@pytest.fixture
def tsc(node, node_folder):
    def compile(folder, *words):
        program = str(node_folder / "node_modules/typescript/bin/tsc")
        done = subprocess.run(
            [node, program, *words], cwd=folder, capture_output=True, text=True, timeout=120
        )
        return done.stdout

    return compile


def test_the_types_are_what_programs_expect(tsc, node_project, node_folder):
    (node_project.folder / "program.ts").write_text(PROGRAM)
    roots = str(node_folder / "node_modules/@types")
    assert tsc(node_project.folder, *STRICT, "--typeRoots", roots, "program.ts") == ""


def test_the_javascript_is_what_the_sources_compile_to(tsc, node_project, node_folder, tmp_path):
    sources = build.HERE / "npm"
    for name in ("src", "tsconfig.json", "package.json"):
        copy = shutil.copytree if (sources / name).is_dir() else shutil.copy
        copy(sources / name, tmp_path / name)
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "@types").symlink_to(node_folder / "node_modules/@types")
    (modules / "@modelcontextprotocol").symlink_to(
        node_project.folder / "node_modules/@modelcontextprotocol"
    )
    assert tsc(tmp_path) == ""
    compiled = {path.name: path.read_text() for path in (tmp_path / "dist").iterdir()}
    assert compiled == {path.name: path.read_text() for path in (sources / "dist").iterdir()}
