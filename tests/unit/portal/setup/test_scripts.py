"""The scripts as texts: one set of files in both, and rules that their shells hold them to.

PowerShell cannot be run here. `setup.ps1` is parsed, held to what Windows PowerShell 5.1 knows, and
has the scaffold taken out of it, which `tests/acceptance/portal` runs as `setup.sh` wrote it.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell

from portal.setup import scripts
from portal.setup.scripts import CLIENT, END, Unfit, files, fit

ROOT = "https://claude.example.com"
FOLDERS = ("common", "python", "typescript")
SHELL, POWERSHELL = scripts.shell(ROOT), scripts.powershell(ROOT)
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
LITERAL = re.compile(r"@'\n.*?\n'@", re.DOTALL)
# The programs of others inside it are no PowerShell.
CODE = "\n".join(
    line for line in LITERAL.sub("''", POWERSHELL).splitlines() if not line.lstrip().startswith("#")
)
NEWER_THAN_5_1 = {
    "null coalescing": r"\?\?",
    "null conditional": r"\?\.|\?\[",
    "chains": r"&&|\|\|",
    "ternary": r"\?\s[^:\n]+\s:\s",
    "parallel": r"-Parallel\b",
    "hash tables from JSON": r"-AsHashtable\b",
    "status without exceptions": r"-SkipHttpErrorCheck|-StatusCodeVariable",
    "other encodings": r"utf8NoBOM|-Encoding\b",
    "masked input": r"-MaskInput\b",
    "plain text of secure strings": r"-AsPlainText\b",
    "newer cmdlets": r"Join-String|Test-Json|Get-Error\b|Remove-Alias|Get-Uptime",
    "newer variables": r"\$(?:PSStyle|IsWindows|IsLinux|IsMacOS|IsCoreCLR)\b",
    "three-part Join-Path": r"Join-Path\s+\S+\s+\S+\s+\S+",
    "newer constructors": r"::new\(",
    "clean blocks": r"\bclean\s*\{",
}


def parsed(text: str) -> bool:
    return not PARSER.parse(text.encode()).root_node.has_error


def in_shell(script: str) -> list[tuple[str, str]]:
    pattern = rf"^put '([^']+)' =rw <<'{END}'\n(.*?)^{END}$"
    return re.findall(pattern, script, re.MULTILINE | re.DOTALL)


def in_powershell(script: str) -> list[tuple[str, str]]:
    pattern = r"^Write-File \$folder '([^']+)' @'\n(.*?)^'@$"
    return re.findall(pattern, script, re.MULTILINE | re.DOTALL)


# --- Both ---------------------------------------------------------------------------------------


def test_both_scripts_write_the_same_bytes():
    carried = [(f.name, f.text) for folder in FOLDERS for f in files(folder) if f.name != ".env"]
    assert in_shell(SHELL) == in_powershell(POWERSHELL) == carried


def test_both_scripts_fill_in_the_same_env_file():
    (text,) = (file.text for file in files("common") if file.name == ".env")
    assert f"put '.env' 600 <<{END}\n{text}{END}\n" in SHELL
    assert f'Write-EnvFile $folder @"\n{text}"@\n' in POWERSHELL


@pytest.mark.parametrize("script", [SHELL, POWERSHELL], ids=["sh", "ps1"])
def test_every_slot_is_filled(script):
    assert not re.search(r"@[A-Z_]+@", script)
    assert ROOT in script
    assert f"{ROOT}/v1'" not in script


@pytest.mark.parametrize("script", [SHELL, POWERSHELL], ids=["sh", "ps1"])
def test_scripts_are_ascii_with_unix_lines(script):
    assert script.isascii()
    assert "\r" not in script


@pytest.mark.parametrize(
    "text",
    ["no end", "two ends\n\n", "a\r\n", "ä\n", "'@ here\n", '"@\n', f"{END}\n"],
    ids=["no line end", "two", "CRLF", "not ASCII", "literal", "expandable", "heredoc"],
)
def test_a_file_that_a_script_cannot_carry_is_refused(tmp_path, text):
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    with pytest.raises(Unfit):
        fit(path)


# --- sh -----------------------------------------------------------------------------------------


def test_shellcheck_finds_nothing_to_say(tmp_path):
    path = tmp_path / "setup.sh"
    path.write_text(SHELL)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "-s", "sh", path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_half_a_download_runs_nothing(tmp_path, share):
    cut = SHELL[: int(len(SHELL) * share)]
    done = subprocess.run(
        ["sh", "-s"], input=cut, cwd=tmp_path, capture_output=True, text=True, env={}
    )
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


# --- PowerShell ---------------------------------------------------------------------------------


def test_powershell_parses():
    assert parsed(POWERSHELL)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_half_of_it_does_not_parse_and_so_runs_nothing(share):
    assert not parsed(POWERSHELL[: int(len(POWERSHELL) * share)])


@pytest.mark.parametrize("name", NEWER_THAN_5_1)
def test_nothing_newer_than_5_1_is_used(name):
    assert not re.search(NEWER_THAN_5_1[name], CODE)


def test_it_is_one_block_that_any_scope_can_run():
    lines = [line for line in POWERSHELL.splitlines() if line and not line.startswith("#")]
    assert (lines[0], lines[-1]) == ("& {", "}")
    assert not re.search(r"^\s*(?:param\b|\[CmdletBinding|#requires|using )", CODE, re.MULTILINE)


def test_it_never_closes_the_window():
    assert not re.search(r"^\s*exit\b", CODE, re.MULTILINE)


def test_it_writes_without_a_byte_order_mark():
    assert "UTF8Encoding $false" in CODE
    assert not re.search(r"Set-Content|Add-Content|Out-File|(?<![-=])>\s*\S+\.\w", CODE)


def test_it_asks_for_the_key_out_of_sight():
    assert re.search(r"Read-Host '.*key.*' -AsSecureString", CODE)
    assert "ZeroFreeBSTR" in CODE
    assert "Tls12" in CODE


def test_every_command_it_calls_is_known_to_5_1():
    called = set(re.findall(r"\b([A-Z][a-z]+-[A-Z][A-Za-z]+)\b", CODE))
    own = set(re.findall(r"function ([A-Za-z]+-[A-Za-z]+)", CODE))
    assert called - own <= {
        "ForEach-Object",
        "Get-Command",
        "Invoke-RestMethod",
        "New-Object",
        "Out-Host",
        "Pop-Location",
        "Push-Location",
        "Read-Host",
        "Remove-Item",
        "Select-Object",
        "Set-Item",
        "Set-StrictMode",
        "Where-Object",
        "Write-Host",
    }


def test_what_is_carried_is_what_lies_in_the_repository():
    for name in ("claude_code.py", "claude_code.cjs"):
        text = (CLIENT / name).read_text()
        assert text in SHELL
        assert text in POWERSHELL
