"""The counts of one server's workers, shared by files in a folder that is theirs alone.

Any worker may be the one that Prometheus reaches, and answers for all: its own counts as they are,
the others' as they last wrote them. Files, not Valkey, because figures matter most when a store is
away. What a worker counted stays when it dies; what it held does not.
"""

import os
import time
from pathlib import Path

import orjson

from usage.core.tally import Snapshot, added, read_snapshot

WRITE_EVERY_S = 1.0
# A worker that has not written for so long is dead, or as good as dead.
SILENT_S_MAX = 10.0


def write(folder: Path, snapshot: Snapshot) -> None:
    """Leave the counts of this process for the others. Raises `OSError`."""
    path = folder / f"{os.getpid()}.json"
    draft = path.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(snapshot.as_json()))
    draft.replace(path)


def with_others(folder: Path, own: Snapshot) -> Snapshot:
    """Return the sums of this process and all others. Raises `OSError`.

    What this process adds is written first, so that no answer of another's can be less.
    """
    write(folder, own)
    found = [own]
    for path in sorted(folder.glob("*.json")):
        if path.stem != str(os.getpid()):
            found.append(_read(path))
    return added(found)


def _read(path: Path) -> Snapshot:
    snapshot = read_snapshot(orjson.loads(path.read_bytes()))
    if time.time() - path.stat().st_mtime > SILENT_S_MAX:
        return Snapshot(snapshot.counters, snapshot.histograms, {})
    return snapshot
