"""Where the gateway's time goes: py-spy, if it is installed, over three kinds of load.

In runs of their own: sampling slows the gateway a little, so no figure is taken meanwhile.
"""

import asyncio
import shutil
import sys
from pathlib import Path

from bench import load
from bench.measure import Run, one_key, wait_for
from bench.results import Column, Row, Section
from bench.stacks import hottest

LOADS = (("exchange", "whole"), ("stream", "burst-50"), ("paced", "paced-50"))
CONNECTIONS = 32
SAMPLES_PER_S = 250
SHOWN = 25


def record(run: Run, into: Path) -> list[Section]:
    """Profile the gateway under each load; the stacks go to `into`, for flame graphs.

    Returns nothing when py-spy is not installed.
    """
    program = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.prefix) / "bin"))
    if program is None:
        return []
    into.mkdir(parents=True, exist_ok=True)
    return [_profile(run, program, name, answer, into) for name, answer in LOADS]


def _profile(run: Run, program: str, name: str, answer: str, into: Path) -> Section:
    file = into / f"profile-{name}.txt"
    wait_for(_record(run, program, answer, file))
    rows = [Row(where, (own, whole)) for where, own, whole in hottest(file.read_text(), SHOWN)]
    columns = (Column("own", "%", 1), Column("with callees", "%", 1))
    title = f"the gateway's Python under `{answer}`, {CONNECTIONS} connections; stacks: {file}"
    return Section(f"profile-{name}", title, columns, tuple(rows))


async def _record(run: Run, program: str, answer: str, file: Path) -> None:
    seconds = max(3, round(run.scale.measure_s))
    words = ["record", "--format", "raw", "--rate", str(SAMPLES_PER_S)]
    words += ["--duration", str(seconds), "--output", str(file), "--pid"]
    next_request = one_key(1, answer)
    async with load.connected(run.stage.gateway.port, CONNECTIONS) as lanes:
        await lanes.run(next_request, run.scale.warm_s)
        recording = await asyncio.create_subprocess_exec(
            *(program, *words, str(run.stage.gateway.pid)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        while recording.returncode is None:
            await lanes.run(next_request, 0.5)
        await recording.wait()
