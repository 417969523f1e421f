"""What the gateway adds to the time of an answer: against upstream itself, and against nginx."""

from bench.distribution import added, percentile
from bench.load import Sampled
from bench.measure import Run, alternately, one_key, wait_for
from bench.results import Column, Row, Section, Target, errors_remark

COLUMNS = (
    Column("added p50", "ms"),
    Column("added p99", "ms"),
    Column("p50", "ms"),
    Column("direct p50", "ms"),
    Column("direct p99", "ms"),
    Column("nginx adds p50", "ms"),
    Column("nginx adds p99", "ms"),
)
NO_NGINX = "nginx is not installed here, so there is nothing in its columns."


def latency(run: Run) -> Section:
    """Time to the whole answer, 1 KB, not streamed."""
    rows, sampled = [], []
    for connections in (1, 32, 256):
        found = wait_for(alternately(_ports(run), one_key(1, "whole"), connections, run.scale))
        times = {name: one.whole_s for name, one in found.items()}
        label = "1 connection" if connections == 1 else f"{connections} connections"
        rows.append(_row(label, times, Target(0.6) if connections == 1 else None))
        sampled += found.values()
    title = "time to the whole answer, 1 KB, not streamed (above 1 connection: at saturation)"
    return Section("latency", title, COLUMNS, tuple(rows), _remarks(run, sampled))


def first_byte(run: Run) -> Section:
    """Time to the first byte of a stream, by size of the request."""
    rows, sampled = [], []
    for size_kb, target in ((1, None), (200, None), (800, Target(3.0))):
        found = wait_for(alternately(_ports(run), one_key(size_kb, "burst-50"), 1, run.scale))
        times = {name: one.first_s for name, one in found.items()}
        rows.append(_row(f"{size_kb} KB", times, target))
        sampled += found.values()
    title = "time to the first byte of a stream, by size of the request (1 connection)"
    return Section("first-byte", title, COLUMNS, tuple(rows), _remarks(run, sampled))


def _ports(run: Run) -> dict[str, int]:
    ports = {"direct": run.stage.upstream_port, "gateway": run.stage.gateway.port}
    if run.stage.nginx_port is not None:
        ports["nginx"] = run.stage.nginx_port
    return ports


def _row(label: str, seconds: dict[str, list[float]], target: Target | None) -> Row:
    if not seconds["gateway"] or not seconds["direct"]:
        return Row(label, (None,) * len(COLUMNS), target)
    times = {name: [1000 * value for value in values] for name, values in seconds.items()}
    direct, gateway, nginx = times["direct"], times["gateway"], times.get("nginx")
    values = (
        added(gateway, direct, 50),
        added(gateway, direct, 99),
        percentile(gateway, 50),
        percentile(direct, 50),
        percentile(direct, 99),
        added(nginx, direct, 50) if nginx else None,
        added(nginx, direct, 99) if nginx else None,
    )
    return Row(label, values, target)


def _remarks(run: Run, found: list[Sampled]) -> tuple[str, ...]:
    example = next((one.example for one in found if one.example), "")
    remarks = errors_remark([one.failures for one in found], example)
    return remarks if run.stage.nginx_port is not None else (*remarks, NO_NGINX)
