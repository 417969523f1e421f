"""Claude Code itself, as people start it: an environment, a prompt, an answer on the terminal.

2.1.36, the last that is plain JavaScript; newer ones are 380 MB of one platform's machine code.
"""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.clients.sdk import bare_environment
from tests.factories import a_spec
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

pytestmark = pytest.mark.node
PATIENCE_S = 60
# It starts within three seconds here; a retry that nobody sees would take minutes.
SOON_S = 20.0
MODELS = {
    "ANTHROPIC_MODEL": "claude-sonnet-4-6",
    "ANTHROPIC_DEFAULT_OPUS_MODEL": "claude-opus-4-6",
    "ANTHROPIC_DEFAULT_SONNET_MODEL": "claude-sonnet-4-6",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-4-5",
}
QUIET = {"DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}

Claude = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def claude(node: str, node_folder: Path, tmp_path: Path) -> Claude:
    """Ask Claude Code one thing, in an empty folder, with an empty home and this environment."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    program = [node, str(node_folder / "node_modules/@anthropic-ai/claude-code/cli.js")]

    def ask(prompt: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, "-p", prompt, *options],
            env=bare_environment(home) | QUIET | MODELS | environment,
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    return ask


def entries_of(developer) -> list[LedgerEntry]:
    ledger.drain()
    return list(LedgerEntry.objects.filter(apikey_id=developer.apikey.pk).order_by("settled_at"))


@pytest.mark.parametrize(
    ("path", "environment"),
    [
        pytest.param("", {"ANTHROPIC_AUTH_TOKEN": "KEY"}, id="root, token"),
        pytest.param("/v1", {"ANTHROPIC_API_KEY": "KEY"}, id="v1, key"),
    ],
)
def test_the_answer_arrives(claude, gateway, developer, path, environment):
    credential = {n: value.replace("KEY", developer.secret) for n, value in environment.items()}
    done = claude('[[sim:say="Hello there"]]', ANTHROPIC_BASE_URL=gateway.url + path, **credential)
    assert (done.stdout.strip(), done.returncode) == ("Hello there", 0)


def test_the_ledger_tells_which_session_it_was(claude, gateway, developer):
    claude(
        "Hello",
        ANTHROPIC_BASE_URL=gateway.url,
        ANTHROPIC_AUTH_TOKEN=developer.secret,
        ANTHROPIC_API_KEY="sk-ant-of-another-service",  # Sent as well, in the other header.
        # Newer versions send it of themselves.
        ANTHROPIC_CUSTOM_HEADERS="X-Claude-Code-Session-Id: 5e55105e-0000-4000-8000-000000000001",
    )
    entry = wait_until(lambda: entries_of(developer))[-1]
    assert entry.client_agent.startswith("claude-cli/2.1.36 ")
    assert entry.session_id == "5e55105e-0000-4000-8000-000000000001"
    assert entry.model_requested == "claude-sonnet-4-6"
    assert entry.cost_nanousd > 0


def test_a_tool_is_used_and_its_result_answered(claude, gateway, developer, tmp_path):
    (tmp_path / "work/note.txt").write_text("The word is plum.")
    call = json.dumps({"file_path": str(tmp_path / "work/note.txt")})
    done = claude(
        f"[[sim:tool=Read input='{call}']]",
        "--output-format=json",
        ANTHROPIC_BASE_URL=gateway.url,
        ANTHROPIC_AUTH_TOKEN=developer.secret,
    )
    result = json.loads(done.stdout)
    assert (result["num_turns"], result["is_error"]) == (2, False)


def test_a_failure_in_the_middle_of_a_stream_is_overcome(claude, gateway, developer):
    mark = f"[[sim:cut after=4 times=1 id={developer.apikey.pk}]]"
    done = claude(
        mark + '[[sim:say="Here again"]]',
        ANTHROPIC_BASE_URL=gateway.url,
        ANTHROPIC_AUTH_TOKEN=developer.secret,
    )
    assert done.stdout.strip() == "Here again"


def test_a_wrong_key_is_said_soon(claude, gateway, developer):
    began = time.monotonic()
    done = claude(
        "Hello", ANTHROPIC_BASE_URL=gateway.url, ANTHROPIC_AUTH_TOKEN=developer.secret[:-1]
    )
    assert time.monotonic() - began < SOON_S
    assert done.returncode == 1
    assert "This is not a valid API key. Check that you copied all of it." in done.stdout


def test_a_spent_budget_is_said_soon(claude, gateway, a_developer):
    developer = a_developer(budgets=[a_spec(window_s=5 * 3600, limit=1)])
    developer.ask()
    began = time.monotonic()
    done = claude("Hello", ANTHROPIC_BASE_URL=gateway.url, ANTHROPIC_AUTH_TOKEN=developer.secret)
    assert time.monotonic() - began < SOON_S
    assert done.returncode == 1
    assert "Token budget exceeded. Resets in 5h" in done.stdout


def test_a_model_that_is_not_allowed_is_said_soon(claude, gateway, a_developer):
    developer = a_developer(models=["claude-haiku-*"])
    done = claude("Hello", ANTHROPIC_BASE_URL=gateway.url, ANTHROPIC_AUTH_TOKEN=developer.secret)
    assert done.returncode == 1
    assert "This API key has no access to the model claude-sonnet-4-6." in done.stdout
