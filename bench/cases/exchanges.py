"""What an exchange costs the gateway: by size of the body, by connections, by kind of answer."""

from dataclasses import dataclass

from bench.distribution import percentile
from bench.measure import Measured, Run, one_key, under_load, wait_for
from bench.results import Column, Row, Section, Target, errors_remark

CONNECTIONS = 32
# Larger bodies on fewer connections: the load must not hold hundreds of megabytes of them.
CONNECTIONS_LARGE = 8
COLUMNS = (
    Column("CPU", "ms", 3),
    Column("exchanges", "1/s", 0),
    Column("p50", "ms"),
    Column("p99", "ms"),
    Column("CPU of Valkey", "ms", 3),
)


@dataclass(frozen=True, slots=True)
class _Load:
    label: str
    size_kb: int
    answer: str
    connections: int
    target: Target | None = None
    alike: bool = False


def bodies(run: Run) -> Section:
    """Answers that are not streamed, by the size of the request."""
    loads = [
        _Load("1 KB", 1, "whole", CONNECTIONS, Target(0.45)),
        _Load("50 KB", 50, "whole", CONNECTIONS),
        _Load("200 KB", 200, "whole", CONNECTIONS_LARGE),
        _Load("800 KB", 800, "whole", CONNECTIONS_LARGE),
    ]
    title = "one exchange, not streamed, by size of the request (32 connections, 8 from 200 KB)"
    return _section(run, "bodies", title, loads)


def connections(run: Run) -> Section:
    """The same exchanges on few connections and on many."""
    loads = [
        _Load(f"{label}, {number} connection{'s' * (number > 1)}", 1, answer, number)
        for label, answer in (("1 KB", "whole"), ("50 events", "burst-50"))
        for number in (1, 32, 256)
    ]
    return _section(run, "connections", "one exchange, by number of connections", loads)


def streams(run: Run) -> Section:
    """Streams whose events arrive in one burst."""
    loads = [
        _Load("50 events", 1, "burst-50", CONNECTIONS, Target(0.75)),
        _Load("500 events", 1, "burst-500", CONNECTIONS),
    ]
    title = "one stream, its events in one burst (32 connections)"
    return _section(run, "streams", title, loads)


def hits(run: Run) -> Section:
    """Answers out of the response cache: upstream is not asked."""
    loads = [
        _Load("1 KB, 1 connection", 1, "whole", 1, alike=True),
        _Load("1 KB", 1, "whole", CONNECTIONS, alike=True),
        _Load("50 events", 1, "burst-50", CONNECTIONS, alike=True),
        _Load("200 KB", 200, "whole", CONNECTIONS_LARGE, alike=True),
    ]
    title = "one answer out of the response cache (32 connections, 8 for 200 KB)"
    return _section(run, "hits", title, loads)


def paced(run: Run) -> Section:
    """Streams whose events arrive one by one, 4 ms apart."""
    rows, all_measured = [], []
    for number in (1, CONNECTIONS):
        measured = wait_for(under_load(run, run.stage.gateway, one_key(1, "paced-50"), number))
        all_measured.append(measured)
        ms = measured.gateway_ms_each
        row = (ms * 1000 / 50, ms, measured.sampled.per_second, measured.valkey_ms_each)
        target = Target(50) if number == CONNECTIONS else None
        rows.append(Row(f"{number} at once", row, target))
    columns = (
        Column("CPU an event", "µs", 1),
        Column("CPU a stream", "ms", 3),
        Column("streams", "1/s", 0),
        Column("CPU of Valkey", "ms", 3),
    )
    title = "one stream of 50 events, 4 ms apart"
    return Section("paced", title, columns, tuple(rows), _remarks(all_measured))


def _section(run: Run, case: str, title: str, loads: list[_Load]) -> Section:
    found = [(load, _measure(run, load)) for load in loads]
    rows = tuple(Row(load.label, _values(measured), load.target) for load, measured in found)
    return Section(case, title, COLUMNS, rows, _remarks([measured for _, measured in found]))


def _measure(run: Run, load: _Load) -> Measured:
    requests = one_key(load.size_kb, load.answer, alike=load.alike)
    return wait_for(under_load(run, run.stage.gateway, requests, load.connections))


def _values(measured: Measured) -> tuple[float | None, ...]:
    sampled = measured.sampled
    if not sampled.count:
        return (None,) * len(COLUMNS)
    return (
        measured.gateway_ms_each,
        sampled.per_second,
        1000 * percentile(sampled.whole_s, 50),
        1000 * percentile(sampled.whole_s, 99),
        measured.valkey_ms_each,
    )


def _remarks(found: list[Measured]) -> tuple[str, ...]:
    sampled = [measured.sampled for measured in found]
    example = next((one.example for one in sampled if one.example), "")
    return errors_remark([one.failures for one in sampled], example)
