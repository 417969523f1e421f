"""Builds what the gateway serves under /packages: a wheel for pip, archives for npm.

`make packages` runs it. Two builds of the same sources are byte for byte the same on one machine:
times come from SOURCE_DATE_EPOCH, names are sorted, owners and modes are set. The JavaScript is
compiled beforehand and kept beside its sources (packages/npm/dist), so this needs no Node.js.
"""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / "built"
# 2026-11-22, the day of version 1.0.1. Any instant will do, as long as it stays.
EPOCH = "1795305600"
NPM = (HERE / "npm", HERE / "npm/wrappers/hono-mcp", HERE / "npm/wrappers/tavily-mcp")
# What npm takes along whether it is asked to or not.
ALWAYS = ("package.json", "README.md", "LICENSE")
LICENSE = HERE / "npm/LICENSE"


def build(target: Path) -> list[Path]:
    """Put all archives into `target`; return them. Those that are there already are replaced."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", EPOCH)
    target.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that each archive is there whole or not at all.
    with tempfile.TemporaryDirectory(dir=target, prefix=".") as folder:
        _build_wheel(Path(folder), epoch)
        for source in NPM:
            _build_tgz(source, Path(folder), int(epoch))
        made = sorted(Path(folder).iterdir())
        for archive in made:
            archive.chmod(0o644)
        return [archive.replace(target / archive.name) for archive in made]


def _build_wheel(folder: Path, epoch: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    done = subprocess.run(
        [*command, "--directory", str(folder)],
        cwd=HERE / "python",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)


def _build_tgz(source: Path, folder: Path, epoch: int) -> None:
    package = json.loads((source / "package.json").read_text())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in _files(source, package):
            archive.addfile(*_entry(name, path.read_bytes(), package, epoch))
    name = f"{package['name']}-{package['version']}.tgz"
    (folder / name).write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def _files(source: Path, package: dict[str, list[str]]) -> Iterator[tuple[str, Path]]:
    listed = [path for name in package["files"] for path in _below(source / name)]
    always = [source / name for name in ALWAYS if (source / name).is_file()]
    for path in sorted({*listed, *always}):
        yield path.relative_to(source).as_posix(), path
    if not (source / LICENSE.name).is_file():
        yield LICENSE.name, LICENSE


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]


def _entry(
    name: str, content: bytes, package: dict[str, dict[str, str]], epoch: int
) -> tuple[tarfile.TarInfo, io.BytesIO]:
    entry = tarfile.TarInfo(f"package/{name}")  # npm takes the first folder off.
    entry.size, entry.mtime = len(content), epoch
    entry.mode = 0o755 if name in package.get("bin", {}).values() else 0o644
    return entry, io.BytesIO(content)


if __name__ == "__main__":
    for built in build(BUILT):
        print(built.relative_to(HERE.parent))  # noqa: T201
