"""The hosted MCP server through the official Python SDK of a year ago."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "old_python_sdk.py"
OLD_SDK = Path(sys.prefix) / "old-mcp"
CALLS = [
    ["search", {"query": "owls"}],
    ["extract", {"urls": ["https://a.example"]}],
    ["crawl", {"url": "https://a.example"}],
    ["map", {"url": "https://a.example"}],
    ["key_status", {}],
    ["usage", {}],
    ["list_models", {}],
    ["search", {}],
]


@pytest.fixture
def said(developer, tmp_path):
    """What the program says. Its SDK checks results against the tools' schemas."""
    if not OLD_SDK.is_dir():
        pytest.skip("`make test` has not installed the old SDK.")
    command = [sys.executable, str(PROGRAM), f"{developer.base_url}/mcp", developer.secret]
    environment = os.environ | {"PYTHONPATH": str(OLD_SDK), "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(
        [*command, json.dumps(CALLS)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


def test_a_year_old_sdk_lists_and_calls_every_tool(said):
    assert said["protocol"] == "2025-06-18"
    assert said["tools"] == [name for name, _ in CALLS[:-1]]
    assert [failed for _, failed, _ in said["results"]] == [False] * 7 + [True]
    assert "Fictional page" in said["results"][0][2]
