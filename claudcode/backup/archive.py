"""The file of a backup: a zip with `manifest.json`, `valkey.jsonl` and `postgres.dump`.

Knows no store. The manifest comes last, since it names the digests of the others; without it, or
with another digest, a file is no backup.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

# Raised when the meaning of a part changes; older ones are read as long as it is possible.
FORMAT = 1
MANIFEST, VALKEY, POSTGRES = "manifest.json", "valkey.jsonl", "postgres.dump"
CHUNK_BYTES = 1024 * 1024
STDOUT = "-"


class BackupError(Exception):
    """The file, the stores or the keys are not such that this can be done."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `taken_at_ms` is its instant, by Valkey's clock."""

    taken_at_ms: int
    shards: int
    migrations: list[list[str]]
    postgres_major: int
    sealed: int
    credential_keys: list[str]
    events: int
    leases: int
    digests: dict[str, str]
    format: int = FORMAT


class Writer:
    """Adds the parts, one after the other; `finish` makes it a backup; `close` in any case."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w")
        self.digests: dict[str, str] = {}

    def add(self, name: str, chunks: Iterable[bytes], *, compressed: bool = False) -> None:
        """Write one part of any size."""
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        digest = hashlib.sha256()
        with self._zip.open(info, "w", force_zip64=True) as part:
            for chunk in chunks:
                digest.update(chunk)
                part.write(chunk)
        self.digests[name] = digest.hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest."""
        self._zip.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))

    def close(self) -> None:
        """Write where the parts begin."""
        self._zip.close()


class Reader:
    """A backup that was written. Raises `BackupError` for anything else, or a damaged one."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            described: dict[str, Any] = json.loads(self._zip.read(MANIFEST))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise BackupError(f"{path} is no whole backup: {error}") from error
        if described.get("format") != FORMAT:
            raise BackupError(
                f"{path} has format {described.get('format')}, and this version reads {FORMAT}."
            )
        self.manifest = Manifest(**described)

    def verify(self) -> None:
        """Read every part and compare its digest."""
        for name, wanted in self.manifest.digests.items():
            digest = hashlib.sha256()
            try:
                for chunk in self.chunks(name):
                    digest.update(chunk)
            except (zipfile.BadZipFile, KeyError) as error:
                raise BackupError(f"{name} is damaged: {error}") from error
            if digest.hexdigest() != wanted:
                raise BackupError(f"{name} is not what was written.")

    def chunks(self, name: str) -> Iterator[bytes]:
        """Return a part, piece by piece."""
        with self._zip.open(name) as part:
            while chunk := part.read(CHUNK_BYTES):
                yield chunk

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Return a part that is JSON lines."""
        with self._zip.open(name) as part:
            for line in part:
                yield json.loads(line)

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


@contextlib.contextmanager
def appearing_whole(target: str) -> Iterator[IO[bytes]]:
    """Yield a file that only its owner can read, and that is at `target` when the block ends well.

    Until then, and after a fault, what was there is there. `-` is standard output.
    """
    if target == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target).absolute()
    # mkstemp makes it 0600.
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
