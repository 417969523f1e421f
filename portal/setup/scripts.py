"""Puts the scripts together: the slots of `client/setup.*` filled with the project's files.

Both scripts carry the very same bytes of `client/scaffold`, as literal texts of their language. A
file that could end such a text early, or that would not survive the way, is refused when it is
read: that is a mistake of ours, and a test reads them all.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLIENT = Path(__file__).parent / "client"
LANGUAGES = ("python", "typescript")
END = "CLAUDCODE_END_OF_FILE"
# In the repository they must not work as what they are.
_RENAMED = {"gitignore": ".gitignore", "env": ".env"}
_SLOT = re.compile(r"^@([A-Z_]+)@$", re.MULTILINE)
# What a name of an archive is made of, so that it means nothing to either shell.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IMPORTED = (
    ("claudcode-mcp-server-", "claudcode-mcp-server"),
    ("claudcode-hono-mcp-", "@hono/mcp"),
    ("claudcode-tavily-mcp-", "tavily-mcp"),
)
_VARIABLE = re.compile(r"\$(?:key|base_url|model)\b")


class Unfit(ValueError):
    """This file cannot be carried by a script."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a project; `text` ends with its only last line end."""

    name: str
    text: str


@cache
def files(folder: str) -> tuple[File, ...]:
    """Return the files of `client/scaffold/<folder>`, by name."""
    # An image's build leaves a folder of compiled code among them.
    found = sorted(path for path in (CLIENT / "scaffold" / folder).iterdir() if path.is_file())
    return tuple(File(_RENAMED.get(path.name, path.name), fit(path)) for path in found)


def fit(path: Path) -> str:
    """Return the text of a file that both shells can carry as it is; raise `Unfit` otherwise."""
    text = path.read_bytes().decode()
    wrong = (
        not text.isascii()  # Windows PowerShell may read anything else in the code page of the day.
        or "\r" in text
        or not text.endswith("\n")
        or text.endswith("\n\n")
        or any(line == END or line.startswith(("'@", '"@')) for line in text.splitlines())
    )
    if wrong:
        raise Unfit(f"{path.name} is not ASCII with one line end at its end, or ends a text early")
    return text


@dataclass(frozen=True, slots=True)
class Offered:
    """The packages of web tools that the gateway serves: the wheel for Python, and for Node.js the
    archives by the names that programs import. Empty where none were built.
    """

    wheel: str = ""
    archives: tuple[tuple[str, str], ...] = ()


def offered(served: Iterable[str]) -> Offered:
    """Return what there is for web tools among the names of archives that the gateway serves."""
    plain = [name for name in served if _PLAIN_NAME.fullmatch(name)]
    wheels = [name for name in plain if name.endswith(".whl")]
    found = [(name, file) for file in plain for start, name in _IMPORTED if file.startswith(start)]
    return Offered(wheels[0] if wheels else "", tuple(found))


def shell(root: str, packages: Offered = Offered()) -> str:
    """Return `setup.sh` for the gateway at `root`, an address that `plain_root` returned."""
    slots = {f"{language.upper()}_FILES": _put(_project(language)) for language in LANGUAGES}
    slots["COMMON_FILES"] = _put(_project("common"))
    slots["ENV_FILE"] = f"put '.env' 600 <<{END}\n{_env()}{END}"
    return _filled("setup.sh", root, packages, slots)


def powershell(root: str, packages: Offered = Offered()) -> str:
    """Return `setup.ps1` for the gateway at `root`, an address that `plain_root` returned."""
    slots = {f"{language.upper()}_FILES": _write(_project(language)) for language in LANGUAGES}
    slots["COMMON_FILES"] = _write(_project("common"))
    slots["ENV_FILE"] = f'Write-EnvFile $folder @"\n{_env()}"@'
    return _filled("setup.ps1", root, packages, slots)


def _put(carried: list[File]) -> str:
    return "\n".join(f"put '{file.name}' =rw <<'{END}'\n{file.text}{END}" for file in carried)


def _write(carried: list[File]) -> str:
    return "\n".join(f"Write-File $folder '{file.name}' @'\n{file.text}'@" for file in carried)


def _project(folder: str) -> list[File]:
    return [file for file in files(folder) if file.name != ".env"]


def _env() -> str:
    (file,) = (file for file in files("common") if file.name == ".env")
    # The one text with variables. They are written alike in both languages, and nothing else in it
    # may mean anything to either.
    if re.search(r"[$`\\]", _VARIABLE.sub("", file.text)):
        raise Unfit("env has more in it than its three variables")
    return file.text


def _filled(name: str, root: str, packages: Offered, slots: dict[str, str]) -> str:
    slots |= {
        "CLAUDE_CODE_PYTHON": fit(CLIENT / "claude_code.py").removesuffix("\n"),
        "CLAUDE_CODE_NODE": fit(CLIENT / "claude_code.cjs").removesuffix("\n"),
    }
    text = (CLIENT / name).read_text()
    text = text.replace("@BASE_URL@", root).replace("@SCRIPT_URL@", f"{root}/{name}")
    archives = " ".join(f"{name}={file}" for name, file in packages.archives)
    text = text.replace("@WHEEL@", packages.wheel).replace("@ARCHIVES@", archives)
    return _SLOT.sub(lambda slot: slots[slot[1]], text)
