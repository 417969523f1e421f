"""`setup.sh` on new machines: what it writes, what it refuses, what it leaves alone."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from keys.services import apikey_revoke
from portal.setup import scripts
from tests.acceptance.gateway_process import free_port
from tests.acceptance.portal.machine import Machine

NOBODY = 65534


def written(machine: Machine) -> dict[str, str]:
    return {path.name: path.read_text() for path in machine.project.iterdir()}


def scaffold(language: str) -> dict[str, str]:
    carried = (*scripts.files("common"), *scripts.files(language))
    return {file.name: file.text for file in carried if file.name != ".env"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- A new project ------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["python", "typescript"])
def test_a_project_is_written_without_a_terminal(any_machine, newcomer, language):
    done = any_machine.setup(newcomer.secret, LANGUAGE=language)
    assert (done.returncode, done.stderr) == (0, "")
    found = written(any_machine)
    assert found.pop(".env").splitlines()[-3:] == [
        f"CLAUDCODE_BASE_URL={newcomer.base_url}",
        f"CLAUDCODE_API_KEY={newcomer.secret}",
        "CLAUDCODE_MODEL=claude-sonnet-4-6",
    ]
    assert found == scaffold(language)


def test_the_key_is_for_its_owner_alone(any_machine, newcomer):
    any_machine.setup(newcomer.secret)
    assert mode(any_machine.project / ".env") == 0o600
    assert mode(any_machine.project / "hello.py") == 0o644
    assert ".env" in (any_machine.project / ".gitignore").read_text().splitlines()


def test_the_key_is_in_no_arguments_and_on_no_screen(machine, newcomer, tools, tmp_path):
    path = Path(tools("python3"))
    log = tmp_path / "log"
    for program in path.iterdir():
        text = program.read_text().replace("exec", f'echo "$0 $*" >>{log}\nexec')
        program.write_text(text)
    done = machine.setup(newcomer.secret, CLAUDE_CODE="yes", PATH=str(path))
    assert done.returncode == 0, done.stderr
    assert "/curl " in log.read_text()
    assert "/python3 " in log.read_text()
    assert newcomer.secret not in log.read_text() + done.stdout + done.stderr


def test_the_model_is_one_that_the_key_may_use(machine, a_developer):
    machine.setup(a_developer(models=["claude-haiku-4-5"]).secret)
    assert "CLAUDCODE_MODEL=claude-haiku-4-5\n" in (machine.project / ".env").read_text()


@pytest.mark.parametrize("name", ["two words", "it's", 'a "b" $HOME `id` \\n', "-rf", "ünï"])
def test_a_folder_may_be_called_anything(any_machine, newcomer, name):
    done = any_machine.setup(newcomer.secret, FOLDER=name)
    assert done.returncode == 0, done.stderr
    any_machine.project = any_machine.work / name
    assert written(any_machine).keys() == scaffold("python").keys() | {".env"}


def test_a_tilde_is_the_home(machine, newcomer):
    machine.setup(newcomer.secret, FOLDER="~/project")
    assert (machine.home / "project" / "hello.py").exists()


def test_nothing_but_the_project_is_written(machine, newcomer):
    machine.setup(newcomer.secret)
    assert list(machine.home.iterdir()) == []
    assert list(machine.work.iterdir()) == [machine.project]


# --- Again --------------------------------------------------------------------------------------


def test_a_second_run_finds_nothing_to_do(any_machine, newcomer):
    any_machine.setup(newcomer.secret)
    before = written(any_machine)
    done = any_machine.setup(newcomer.secret)
    assert done.returncode == 0
    assert "written" not in done.stdout
    assert written(any_machine) == before


def test_what_was_changed_is_kept(any_machine, newcomer):
    any_machine.setup(newcomer.secret)
    (any_machine.project / "hello.py").write_text("mine")
    done = any_machine.setup(newcomer.secret)
    assert "kept     hello.py" in done.stdout
    assert (any_machine.project / "hello.py").read_text() == "mine"


def test_what_was_changed_is_replaced_where_that_is_wanted(machine, newcomer, a_developer):
    machine.setup(newcomer.secret)
    (machine.project / "hello.py").write_text("mine")
    (machine.project / ".env").chmod(0o644)
    another = a_developer()
    machine.setup(another.secret, OVERWRITE="yes")
    assert (machine.project / "hello.py").read_text() == scaffold("python")["hello.py"]
    assert another.secret in (machine.project / ".env").read_text()
    assert mode(machine.project / ".env") == 0o600


def test_a_link_that_leads_nowhere_is_kept_too(machine, newcomer, tmp_path):
    machine.project.mkdir()
    (machine.project / "hello.py").symlink_to(tmp_path / "elsewhere")
    machine.setup(newcomer.secret)
    assert (machine.project / "hello.py").is_symlink()
    assert not (tmp_path / "elsewhere").exists()


def test_a_gitignore_of_ones_own_keeps_the_key_out_too(any_machine, newcomer):
    any_machine.project.mkdir()
    (any_machine.project / ".gitignore").write_text("*.log")
    any_machine.setup(newcomer.secret)
    any_machine.setup(newcomer.secret)
    lines = (any_machine.project / ".gitignore").read_text().split()
    assert lines == ["*.log", ".env"]


# --- Refused ------------------------------------------------------------------------------------


def refusal(machine: Machine, secret: str, **variables) -> str:
    done = machine.setup(secret, **variables)
    assert done.returncode == 1
    assert not machine.project.exists()
    return done.stderr


def test_an_unknown_key_is_refused(any_machine, newcomer):
    wrong = newcomer.secret[:-1] + ("a" if newcomer.secret[-1] != "a" else "b")
    assert "does not know this API key" in refusal(any_machine, wrong)


@pytest.mark.parametrize("text", ["hello", "sk-cc-", "sk-cc-$(id)", 'sk-cc-a"b', "sk-ant-abc"])
def test_what_is_no_key_is_refused(machine, text):
    assert "This is no API key" in refusal(machine, text)


def test_a_revoked_key_is_refused(any_machine, newcomer):
    apikey_revoke(apikey=newcomer.apikey, acting_user=None)
    assert "This API key is revoked now" in refusal(any_machine, newcomer.secret)


def test_without_key_and_terminal_it_says_what_to_set(any_machine):
    assert "set CLAUDCODE_API_KEY" in refusal(any_machine, "")


def test_a_gateway_that_is_away_is_named(any_machine, newcomer):
    nowhere = f"http://127.0.0.1:{free_port()}"
    any_machine.script = scripts.shell(nowhere)
    assert f"Cannot reach {nowhere}" in refusal(any_machine, newcomer.secret)


def test_another_language_is_refused(machine, newcomer):
    assert "say python or typescript" in refusal(machine, newcomer.secret, LANGUAGE="cobol")


def test_a_system_without_curl_is_told_so(machine, newcomer, tools):
    path = tools("python3")
    (Path(path) / "curl").unlink()
    assert "needs curl" in refusal(machine, newcomer.secret, PATH=path)


def test_a_folder_that_cannot_be_written_is_named(machine, newcomer):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    # Root may write anywhere, so root steps down for this.
    user = NOBODY if os.geteuid() == 0 else None
    machine.work = Path("/")
    try:
        done = machine.setup(newcomer.secret, user=user, FOLDER=str(folder))
        assert (done.returncode, done.stderr) == (1, f"Cannot write into {folder}.\n")
        done = machine.setup(newcomer.secret, user=user, FOLDER=f"{folder}/below")
        assert (done.returncode, done.stderr) == (1, f"Cannot make the folder {folder}/below.\n")
    finally:
        shutil.rmtree(folder)


def test_packages_that_cannot_be_installed_leave_a_project(machine, newcomer, tools):
    done = machine.setup(newcomer.secret, INSTALL="yes", LANGUAGE="typescript", PATH=tools("node"))
    assert done.returncode == 0
    assert "Node.js and npm are not here" in done.stdout
    assert "The packages are not installed" in done.stdout
    assert done.stdout.endswith("  npm install\n  npm run hello\n")
    assert (machine.project / "hello.ts").exists()


def test_who_installs_nothing_is_told_how_to(machine, newcomer):
    done = machine.setup(newcomer.secret)
    *_, environment, packages, hello = done.stdout.splitlines()
    assert environment == "  python3 -m venv .venv"
    assert packages == "  .venv/bin/python -m pip install -r requirements.txt"
    assert hello == "  .venv/bin/python hello.py"


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        (["claudcode-mcp-server-1.0.1.tgz", "claudcode-hono-mcp-1.0.1.tgz"], True),
        ([], False),
    ],
)
def test_web_tools_are_installed_from_the_gateway(machine, newcomer, tools, served, asked):
    """A stand-in for npm notes what it is told; tests/acceptance/packages use the real one."""
    path = Path(tools("node"))
    told = path / "told"
    (path / "npm").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{told}"\n')
    (path / "npm").chmod(0o755)
    machine.script = scripts.shell(newcomer.base_url, scripts.offered(served))
    done = machine.setup(
        newcomer.secret, INSTALL="yes", WEB_TOOLS="yes", LANGUAGE="typescript", PATH=str(path)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].startswith("  cd ")  # Nothing is left to install.
    _project, *web_tools = told.read_text().splitlines()
    root = f"{newcomer.base_url}/packages"
    wanted = [
        f"install --no-audit --no-fund --loglevel=error"
        f" claudcode-mcp-server@{root}/claudcode-mcp-server-1.0.1.tgz"
        f" @hono/mcp@{root}/claudcode-hono-mcp-1.0.1.tgz"
    ]
    assert web_tools == (wanted if asked else [])


def test_an_unknown_word_is_refused(machine, newcomer):
    assert "say uninstall" in machine.setup(newcomer.secret, "instal").stderr


# --- On a terminal ------------------------------------------------------------------------------

KEY = "not shown):"


def test_it_asks_on_the_terminal_and_shows_no_key(terminal, any_machine, newcomer):
    terminal.answer(KEY, "sk-cc-wrong")
    terminal.answer(KEY, f" {newcomer.secret} ")
    terminal.answer("Python or TypeScript? [python]", "ts")
    terminal.answer("Folder of the project? [claudcode-project]", "")
    terminal.answer("Set Claude Code up with this key too? [no]", "")
    assert terminal.finish() == 0
    assert written(any_machine).keys() == scaffold("typescript").keys() | {".env"}
    assert newcomer.secret not in terminal.seen
    assert "sk-cc-wrong" not in terminal.seen
    assert not any_machine.claude.exists()


def test_it_asks_before_it_replaces(terminal, any_machine, newcomer):
    any_machine.setup(newcomer.secret)
    for name in ("budget.py", "hello.py"):
        (any_machine.project / name).write_text("mine")
    terminal.answer(KEY, newcomer.secret)
    terminal.answer("Python or TypeScript? [python]", "")
    terminal.answer("Folder of the project? [claudcode-project]", "")
    terminal.answer("budget.py is there and differs. Replace it? [no]", "")
    terminal.answer("hello.py is there and differs. Replace it? [no]", "y")
    terminal.answer("Set Claude Code up with this key too? [no]", "no")
    assert terminal.finish() == 0
    assert written(any_machine)["budget.py"] == "mine"
    assert written(any_machine)["hello.py"] == scaffold("python")["hello.py"]


def test_three_wrong_keys_are_enough(terminal, any_machine):
    for _ in range(3):
        terminal.answer(KEY, "sk-cc-wrong")
    assert terminal.finish() == 1
    assert not any_machine.project.exists()
