"""What a process holds, and whether it grows. Reads /proc, so Linux; the arithmetic is pure."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.proc import family, resident_kb

# Growth that a fit cannot tell from the steps in which memory is taken.
GROWTH_KB_MIN = 4 * 1024
GROWTH_SHARE_MAX = 0.05


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through samples: where it starts, and what it gains an hour."""

    first: float
    per_hour: float
    hours: float

    @property
    def growth(self) -> float:
        """What was gained from the first sample to the last."""
        return self.per_hour * self.hours

    @property
    def flat(self) -> bool:
        """Whether the growth is within what samples of a flat line show."""
        return self.growth <= max(GROWTH_KB_MIN, GROWTH_SHARE_MAX * self.first)


def trend(samples: Sequence[tuple[float, float]]) -> Trend:
    """Return the line of least squares through (seconds, value) samples, two at least."""
    mean_s = sum(at_s for at_s, _value in samples) / len(samples)
    mean = sum(value for _at_s, value in samples) / len(samples)
    spread = sum((at_s - mean_s) ** 2 for at_s, _value in samples)
    slope = sum((at_s - mean_s) * (value - mean) for at_s, value in samples) / spread
    first_s, last_s = samples[0][0], samples[-1][0]
    return Trend(mean + slope * (first_s - mean_s), slope * 3600, (last_s - first_s) / 3600)


def resident(pid: int) -> int:
    """Return the kilobytes of memory that a process holds."""
    return resident_kb([pid])


def private(pid: int) -> int:
    """Return the kilobytes that a process and its descendants hold for themselves alone.

    Of a server whose processes share a cache that fills up, as Postgres' do, this is what can leak.
    """
    return sum(_private(member) for member in family(pid))


def sockets(pid: int) -> tuple[int, int]:
    """Return how many TCP connections a process has, and how many other sockets."""
    inodes = {_inode(link) for link in Path(f"/proc/{pid}/fd").iterdir()} - {""}
    tcp = inodes & _tcp_inodes(pid)
    return len(tcp), len(inodes - tcp)


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # It ended while we looked.
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def _inode(link: Path) -> str:
    try:
        target = os.readlink(link)
    except OSError:
        return ""  # Closed while we looked.
    return target.removeprefix("socket:[").rstrip("]") if target.startswith("socket:[") else ""


def _tcp_inodes(pid: int) -> set[str]:
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in _rows(table)]
    listening = "0A"
    return {row[9] for row in rows if row[3] != listening}


def _rows(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:]
