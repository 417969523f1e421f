"""Every code sample of the documentation is run as a reader would: address and key filled in.

PowerShell cannot be run here: it is parsed, and held to what Windows PowerShell 5.1 knows.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.clients.conftest import (  # noqa: F401  Fixtures.
    NODE,
    OLD_PYTHON_SDK,
    node,
    node_folder,
)
from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.clients.test_documentation import conforms
from tests.acceptance.developer import Developer
from tests.acceptance.portal.samples import Sample, served, written
from tests.factories import a_key_and_secret, a_spec

PYTHON_PROGRAM = Path(__file__).parent / "python_samples.py"
PATIENCE_S = 60
RUN = {"curl", "Python", "TypeScript", "PowerShell", "Claude-Code"}
# What is shown and not run, each with its own test below.
SHOWN = {"settings", "key-status", "rate-limited", "error", "cache-hit", "mcp", "text"}
SHOWN |= {"setup", "setup-windows", "npm"}
INSTALLED = {"pip install anthropic", "npm install @anthropic-ai/sdk"}

Ready = Callable[[Sample], str]


def chosen(kind: str) -> list[Sample]:
    return [s for s in written() if s.kind == kind and "install" not in s.flags]


def named(kind: str) -> Sample:
    return next(sample for sample in written() if sample.kind == kind)


def each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", chosen(kind), ids=lambda sample: sample.name)


@pytest.fixture
def ready(http, gateway, developer) -> Ready:
    """The text of a sample, as a reader with a key would paste it."""
    return lambda sample: served(http, gateway.url, sample, developer.secret)


def run(command: list[str], home: Path, folder: Path, text: str | None = None, **more: str) -> str:
    """Return what `command` prints; it must end well."""
    done = subprocess.run(
        command,
        env=bare_environment(home) | more,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_sample_goes_untested():
    assert {sample.kind for sample in written()} <= RUN | SHOWN
    assert all(chosen(kind) for kind in RUN)


def test_what_is_installed_is_what_the_samples_are_run_with():
    asked = {sample.text.strip() for sample in written() if "install" in sample.flags}
    assert asked == INSTALLED


def test_what_npm_installs_is_served(ready, http):
    """Installed for real, the package is in tests/acceptance/packages."""
    (address,) = re.findall(r"npm install (\S+)", ready(named("npm")))
    archive = http.get(address)
    assert (archive.status_code, archive.headers["content-type"]) == (200, "application/gzip")


# --- curl ---------------------------------------------------------------------------------------


@each("curl")
def test_curl(ready, tmp_path, sample):
    printed = run(["bash", "-e", "-c", ready(sample)], tmp_path, tmp_path)
    streamed = printed.startswith("event:")
    answers = re.findall(r"^data: (.*)$", printed, re.MULTILINE) if streamed else together(printed)
    assert answers
    assert not [answer for answer in answers if "error" in json.loads(answer)]
    assert streamed or len(answers) == sample.text.count("curl ")
    assert "/v1/" not in sample.text or not streamed or '"message_stop"' in answers[-1]


def together(printed: str) -> list[str]:
    return re.split(r"(?<=\})(?=\{)", printed)


# --- Python -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["today", "old"])
def python_results(
    request, installation, gateway, http, tmp_path_factory
) -> dict[str, dict[str, str]]:
    """What each sample printed: with today's SDK, and with the last of the older API version."""
    if request.param == "old" and not OLD_PYTHON_SDK.is_dir():
        pytest.skip("`make test` has not installed the old SDK.")
    developer = a_reader(http, gateway)
    texts = [served(http, gateway.url, s, developer.secret) for s in chosen("Python")]
    home = tmp_path_factory.mktemp("home")
    path = {"PYTHONPATH": str(OLD_PYTHON_SDK)} if request.param == "old" else {}
    printed = run([sys.executable, str(PYTHON_PROGRAM)], home, home, json.dumps(texts), **path)
    return dict(zip([s.name for s in chosen("Python")], json.loads(printed), strict=True))


def a_reader(http, gateway) -> Developer:
    return Developer(http, gateway.url, *a_key_and_secret(rpm=None, concurrency=None))


@each("Python")
def test_python(python_results, sample):
    result = python_results[sample.name]
    assert result["failed"] == ""
    assert result["printed"].strip()


# --- TypeScript, PowerShell ---------------------------------------------------------------------


@pytest.mark.node
@each("TypeScript")
def test_typescript(ready, node, node_folder, tmp_path, sample):  # noqa: F811
    command = [node, "--input-type=module", "-e", ready(sample)]
    assert run(command, tmp_path, node_folder).strip()


@each("PowerShell")
def test_powershell_parses(ready, sample):
    import tree_sitter_powershell
    from tree_sitter import Language, Parser

    text = ready(sample)
    parser = Parser(Language(tree_sitter_powershell.language()))
    assert not parser.parse(text.encode()).root_node.has_error, text
    broken = text.replace("= ", "= (", 1)
    assert parser.parse(broken.encode()).root_node.has_error


# --- Claude Code --------------------------------------------------------------------------------


@pytest.fixture
def claude_home(node, tmp_path) -> Path:  # noqa: F811
    """A home with `claude` on its path."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    cli = NODE / "node_modules/@anthropic-ai/claude-code/cli.js"
    program.write_text(f'#!/bin/sh\nexec "{node}" "{cli}" "$@" </dev/null\n')
    program.chmod(0o755)
    return tmp_path


def claude_environment(home: Path) -> dict[str, str]:
    quiet = {"DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    return quiet | {"PATH": f"{home / 'bin'}:{bare_environment(home)['PATH']}"}


@pytest.mark.node
@each("Claude-Code")
def test_claude_code(ready, claude_home, sample):
    command = ["bash", "-e", "-c", ready(sample)]
    assert run(command, claude_home, claude_home, **claude_environment(claude_home)).strip()


@pytest.mark.node
def test_the_settings_of_claude_code(ready, claude_home):
    folder = claude_home / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text(ready(named("settings")))
    said = ["claude", "-p", '[[sim:say="Hello there"]]']
    environment = claude_environment(claude_home)
    command = ["bash", "-c", 'exec "$@"', "bash", *said]
    assert run(command, claude_home, claude_home, **environment).strip() == "Hello there"


def test_the_configuration_of_mcp_is_json(ready):
    servers = json.loads(ready(named("mcp")))["mcpServers"]
    assert servers


@pytest.mark.parametrize("kind", ["setup", "setup-windows"])
def test_the_set_up_scripts_are_where_the_command_looks(ready, http, kind):
    (address,) = re.findall(r"https?://\S+", ready(named(kind)))
    assert http.get(address).status_code == 200


# --- What is shown ------------------------------------------------------------------------------


def headers_of(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("HTTP/")]
    return dict(line.split(": ") for line in lines)


def test_the_key_status_shown_is_what_comes(ready, a_developer):
    assert conforms(a_developer().status(), json.loads(ready(named("key-status"))))


def test_the_error_shown_is_what_comes(ready, a_developer):
    developer = a_developer(budgets=[a_spec(window_s=5 * 3600, limit=0)])
    told, shown = developer.ask().json(), json.loads(ready(named("error")))
    assert conforms(told, shown)
    assert told["error"]["type"] == shown["error"]["type"]


def test_the_refusal_shown_is_what_comes(ready, a_developer):
    shown = ready(named("rate-limited"))
    developer = a_developer(rpm=1)
    refused = [developer.ask() for _ in range(2)][-1]
    status = f"{refused.http_version} {refused.status_code} {refused.reason_phrase}"
    assert shown.startswith(status)
    assert all(name in refused.headers for name in headers_of(shown))


def test_the_hit_shown_is_what_comes(ready, a_developer):
    developer = a_developer(cache_enabled=True)
    hit = [developer.ask("What is cached?") for _ in range(2)][-1]
    shown = headers_of(ready(named("cache-hit")))
    assert hit.headers["x-cache"] == shown["X-Cache"]
    assert all(name in hit.headers for name in shown)


def test_no_sample_holds_a_tab_or_a_foreign_address():
    foreign = re.compile(r"https?://(?!gateway\.invalid)")
    assert not [s.name for s in written() if "\t" in s.text or foreign.search(s.text)]
