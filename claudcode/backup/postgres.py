"""Postgres' own pg_dump and pg_restore: where they are, and how they are run.

Passwords go by the environment, which other users of the machine cannot read, unlike arguments.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from django.db import connection, transaction
from psycopg.conninfo import make_conninfo

from claudcode import env
from claudcode.backup.archive import CHUNK_BYTES, BackupError
from claudcode.engines import postgres

# What of a program's words an error repeats.
WORDS_MAX = 2000


def server_major() -> int:
    """Return the major version of the server."""
    with connection.cursor():
        return int(connection.pg_version) // 10_000  # type: ignore[attr-defined]


def dump() -> Iterator[bytes]:
    """Return one consistent snapshot of the database, in pg_dump's custom format."""
    command = [_program("pg_dump", server_major()), "--format=custom", "--no-owner"]
    command += ["--no-privileges", "--dbname", _target()]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=words, env=_environment()
        )
        assert process.stdout is not None
        try:
            while chunk := process.stdout.read(CHUNK_BYTES):
                yield chunk
            process.stdout.close()
            _raise_if_failed("pg_dump", process.wait(), words)
        finally:
            process.kill()
            process.wait()


def load(chunks: Iterable[bytes]) -> None:
    """Restore a dump into the database, whole or not at all."""
    command = [_program("pg_restore", server_major()), "--no-owner", "--no-privileges"]
    command += ["--exit-on-error", "--single-transaction", "--dbname", _target()]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=words, env=_environment())
        assert process.stdin is not None
        try:
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:
            pass  # Its own words say why.
        _raise_if_failed("pg_restore", process.wait(), words)


def is_empty() -> bool:
    """Return whether there is no table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        return not cursor.fetchone()[0]


def others() -> int:
    """Return how many other connections use the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def clear() -> None:
    """Drop every table and make the schema anew."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS public CASCADE")
        cursor.execute("CREATE SCHEMA public")


def _program(name: str, major_min: int) -> str:
    """Return the program of the server's major version, else of the nearest later one."""
    found: dict[int, str] = {}
    for folder in _folders():
        program = folder / name
        if program.exists() and (major := _major(program)) >= major_min:
            found.setdefault(major, str(program))
    if not found:
        raise BackupError(
            f"There is no {name} of Postgres {major_min} or later. Install Postgres' client"
            " programs, or set POSTGRES_BIN to their folder."
        )
    return found[min(found)]


def _folders() -> list[Path]:
    folders = [Path(chosen)] if (chosen := env.postgres_bin()) else []
    folders += postgres.folders()
    if on_path := shutil.which("pg_dump"):
        folders.append(Path(on_path).parent)
    return folders


def _major(program: Path) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else 0


def _target() -> str:
    settings = connection.settings_dict
    named = {"host": "HOST", "port": "PORT", "user": "USER", "dbname": "NAME"}
    ours_alone = ("pool", "prepare_threshold")  # Django's and psycopg's, not libpq's.
    options: dict[str, Any] = {k: v for k, v in settings["OPTIONS"].items() if k not in ours_alone}
    options.pop("password", None)
    return str(
        make_conninfo(
            **options, **{ours: settings[name] for ours, name in named.items() if settings[name]}
        )
    )


def _environment() -> dict[str, str]:
    password = connection.settings_dict["PASSWORD"]
    return env.inherited() | ({"PGPASSWORD": password} if password else {})


def _raise_if_failed(name: str, returncode: int, words: IO[bytes]) -> None:
    if returncode:
        words.seek(0)
        said = words.read(WORDS_MAX).decode(errors="replace").strip()
        raise BackupError(f"{name} failed: {said}")
