"""What the kernel says of a process: processor time, memory, children. Reads /proc, so Linux."""

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name, which ends at the last bracket: proc(5) numbers from 1.
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 4 - 3, 14 - 3, 15 - 3


def parse_cpu_ticks(stat: str) -> int:
    """Return utime + stime of the text of /proc/PID/stat."""
    fields = _fields(stat)
    return int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])


def parse_parent(stat: str) -> int:
    """Return the parent's pid of the text of /proc/PID/stat."""
    return int(_fields(stat)[_PARENT])


def parse_resident_kb(status: str) -> int:
    """Return VmRSS of the text of /proc/PID/status; 0 for a process that has ended."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that `pids` have used since they started."""
    return sum(parse_cpu_ticks(_read(pid, "stat")) for pid in pids) / TICKS_PER_S


def resident_kb(pids: Iterable[int]) -> int:
    """Return the memory that `pids` hold, shared pages counted for each."""
    return sum(parse_resident_kb(_read(pid, "status")) for pid in pids)


def family(pid: int) -> list[int]:
    """Return `pid` and all its descendants."""
    parents = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = parse_parent((folder / "stat").read_text())
            except OSError:
                continue  # It ended while we looked.
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def _fields(stat: str) -> list[str]:
    # The name may hold blanks and brackets of its own.
    return stat.rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    return (PROC / str(pid) / name).read_text()
