"""Claude Code's settings: merged by either program, and taken out to the byte."""

import json
import stat
import subprocess

import pytest

from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.portal.machine import PATIENCE_S

OWN = """{
    "permissions": {"allow": ["Bash(ls:*)"], "deny": []},
    "env": {
        "EDITOR": "vi",
        "ANTHROPIC_BASE_URL": "https://elsewhere.example.com"
    },
    "note": "ünï",
    "numbers": [1, 2.5, null, true]
}
"""
# As Claude Code writes it: every value on a line of its own.
OWN = json.dumps(json.loads(OWN), indent=4, ensure_ascii=False) + "\n"
YES = {"CLAUDE_CODE": "yes"}


@pytest.fixture(params=["python3", "node"])
def merging(request, tools, machine):
    """A machine on which this program alone can merge JSON; returns how to set it up."""
    if request.param == "node":
        request.getfixturevalue("node")
    path = tools(request.param)

    def run(*arguments, **variables):
        done = machine.setup(*arguments, PATH=path, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def settings(machine):
    machine.claude.mkdir()
    return machine.claude / "settings.json"


def test_the_gateway_is_merged_in(merging, settings, newcomer):
    settings.write_text(OWN)
    merging(newcomer.secret, **YES)
    found, expected = json.loads(settings.read_text()), json.loads(OWN)
    expected["env"] |= {
        "ANTHROPIC_BASE_URL": newcomer.base_url,
        "ANTHROPIC_AUTH_TOKEN": newcomer.secret,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "claude-opus-4-6",
        "ANTHROPIC_DEFAULT_SONNET_MODEL": "claude-sonnet-4-6",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-4-5",
    }
    assert found == expected
    assert list(found) == list(json.loads(OWN))
    assert '\n    "note": "ünï"' in settings.read_text()


def test_secrets_are_for_their_owner_alone(merging, settings, newcomer, machine):
    settings.write_text(OWN)
    merging(newcomer.secret, **YES)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in machine.claude.iterdir()}
    assert modes == {
        "settings.json": 0o600,
        "settings.json.before-claudcode": 0o600,
        "claudcode-setup.json": 0o600,
    }
    assert (machine.claude / "settings.json.before-claudcode").read_text() == OWN


def test_uninstall_leaves_what_was_there_to_the_byte(merging, settings, newcomer, machine):
    settings.write_text(OWN)
    merging(newcomer.secret, **YES)
    merging("", "uninstall")
    assert settings.read_text() == OWN
    assert list(machine.claude.iterdir()) == [settings]


def test_where_there_was_nothing_there_is_nothing_again(merging, newcomer, machine):
    merging(newcomer.secret, **YES)
    assert (machine.claude / "settings.json").exists()
    merging("", "uninstall")
    assert list(machine.claude.iterdir()) == []


def test_what_was_changed_since_stays(merging, settings, newcomer):
    settings.write_text(OWN)
    merging(newcomer.secret, **YES)
    changed = json.loads(settings.read_text())
    changed["env"] |= {"ANTHROPIC_AUTH_TOKEN": "mine", "NEW": "1"}
    settings.write_text(json.dumps(changed))
    said = merging("", "uninstall")
    kept = {"ANTHROPIC_AUTH_TOKEN": "mine", "NEW": "1"}
    assert json.loads(settings.read_text())["env"] == json.loads(OWN)["env"] | kept
    assert "ANTHROPIC_AUTH_TOKEN was changed since" in said


def test_a_second_key_takes_the_place_of_the_first(merging, settings, newcomer, a_developer):
    settings.write_text(OWN)
    merging(newcomer.secret, **YES)
    another = a_developer()
    merging(another.secret, **YES)
    assert json.loads(settings.read_text())["env"]["ANTHROPIC_AUTH_TOKEN"] == another.secret
    merging("", "uninstall")
    assert settings.read_text() == OWN


def test_a_family_the_key_may_not_use_is_one_it_may(merging, a_developer, machine):
    merging(a_developer(models=["claude-haiku-4-5"]).secret, **YES)
    env = json.loads((machine.claude / "settings.json").read_text())["env"]
    assert {env[name] for name in env if name.endswith("_MODEL")} == {"claude-haiku-4-5"}


def test_a_link_stays_a_link(merging, settings, newcomer, tmp_path):
    real = tmp_path / "dotfiles.json"
    real.write_text(OWN)
    settings.symlink_to(real)
    merging(newcomer.secret, **YES)
    assert settings.is_symlink()
    assert newcomer.secret in real.read_text()


def test_uninstall_where_nothing_was_installed_changes_nothing(merging, settings):
    settings.write_text(OWN)
    assert "Nothing of ClaudCode" in merging("", "uninstall")
    assert settings.read_text() == OWN


@pytest.mark.parametrize("program", ["python3", "node"])
@pytest.mark.parametrize(
    "text", ['{"a": 1} // note', "[]", '{"env": null}'], ids=["comment", "list", "env null"]
)
def test_what_is_not_valid_is_refused_and_kept(
    machine, settings, newcomer, tools, request, program, text
):
    if program == "node":
        request.getfixturevalue("node")
    settings.write_text(text)
    done = machine.setup(newcomer.secret, PATH=tools(program), **YES)
    assert done.returncode == 1
    assert f"{settings} is not" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert settings.read_text() == text
    assert list(machine.claude.iterdir()) == [settings]


def test_without_python_and_node_it_says_so(machine, settings, newcomer, tools):
    settings.write_text(OWN)
    done = machine.setup(newcomer.secret, PATH=tools(), **YES)
    assert done.returncode == 1
    assert "Neither Python 3 nor Node.js is here" in done.stderr
    assert settings.read_text() == OWN


@pytest.mark.node
def test_claude_code_asks_the_gateway_by_these_settings_alone(machine, newcomer, node, node_folder):
    machine.setup(newcomer.secret, **YES)
    program = node_folder / "node_modules/@anthropic-ai/claude-code/cli.js"
    done = subprocess.run(
        [node, str(program), "-p", '[[sim:say="Hello there"]]'],
        env=bare_environment(machine.home) | {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        cwd=machine.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.stdout.strip(), done.returncode) == ("Hello there", 0), done.stderr
