"""State folders for tests that start engines of their own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from claudcode.engines.state import StateFolder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that every user can pass through, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def state(folder: Path) -> StateFolder:
    return StateFolder(folder / "state")
