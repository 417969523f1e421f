"""A disk of a few megabytes in memory, which a test can fill to the last byte. Linux, root."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

mounts = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="Only root can mount a small disk."
)


class SmallDisk:
    """`with SmallDisk(folder, megabytes) as disk:` mounts it at `folder`, which must not exist."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder, self._megabytes = folder, megabytes

    def __enter__(self) -> "SmallDisk":
        self._folder.mkdir()
        size = f"size={self._megabytes}m"
        mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self._folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"No disk can be mounted here: {done.stderr.strip()}")
        return self

    def __exit__(self, *_error: object) -> None:
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Leave not a byte free for as long as the block runs."""
        ballast = self._folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            yield
        finally:
            ballast.unlink()
