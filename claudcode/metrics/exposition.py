"""Puts counts into the text that Prometheus reads, by prometheus-client. Asks nobody.

`DESCRIBED` is every metric there is: its kind, its labels and what it tells. What is not in it is
not shown, so dashboards and alert rules can be checked against it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from usage.core.tally import Histogram, Snapshot, cumulated

PREFIX = "claudcode_"
COUNTER, HISTOGRAM, GAUGE = "counter", "histogram", "gauge"


@dataclass(frozen=True, slots=True)
class Described:
    """One metric: counters get `_total` behind their name."""

    kind: str
    meaning: str
    labels: tuple[str, ...] = ()


DESCRIBED = {
    "requests": Described(COUNTER, "Answers of /v1 by route and status.", ("path", "status")),
    "refusals": Described(COUNTER, "Errors of the gateway's own, by wire type.", ("type",)),
    "exchanges": Described(
        COUNTER, "Exchanges that ended.", ("model", "account", "outcome", "cache")
    ),
    "tokens": Described(COUNTER, "Tokens as upstream counts them.", ("model", "kind")),
    "cost_nanousd": Described(COUNTER, "Price of exchanges in billionths of a USD.", ("model",)),
    "upstream_attempts": Described(
        COUNTER, "Tries at accounts, by how they ended.", ("account", "outcome")
    ),
    "tool_calls": Described(COUNTER, "Calls of web tools.", ("tool", "outcome", "cache")),
    "tool_cost_nanousd": Described(COUNTER, "Price of web tools, as above.", ("tool",)),
    "worker_cpu_seconds": Described(COUNTER, "CPU time of the server's workers."),
    "exchange_first_byte_seconds": Described(
        HISTOGRAM, "From admission to the first byte of the answer.", ("model",)
    ),
    "exchange_duration_seconds": Described(
        HISTOGRAM, "From admission to the end of the answer.", ("model",)
    ),
    "gateway_overhead_seconds": Described(
        HISTOGRAM, "From the request's last byte to its way upstream, waits for a slot included."
    ),
    "workers": Described(GAUGE, "Workers of this server that answer."),
    "exchanges_in_flight": Described(GAUGE, "Exchanges that this server's workers hold."),
    "request_bodies_bytes": Described(GAUGE, "Request bodies that this server's workers hold."),
    "valkey_links": Described(GAUGE, "Workers whose link to Valkey stands; it is made at need."),
    "valkey_waits_short": Described(
        GAUGE, "WAITs of these workers that found fewer replicas than asked for."
    ),
    "postgres_pool_connections": Described(GAUGE, "Connections to Postgres of the workers."),
    "postgres_pool_idle": Described(GAUGE, "Those of them that nobody uses."),
    "postgres_pool_waiting": Described(GAUGE, "Requests that wait for one."),
    "worker_resident_bytes": Described(GAUGE, "Memory of the workers."),
    "worker_open_files": Described(GAUGE, "Open files and sockets of the workers."),
    "worker_open_files_max": Described(GAUGE, "How many they may have."),
    "postgres_up": Described(GAUGE, "1 if Postgres answers."),
    "postgres_replica_up": Described(GAUGE, "1 if the replica for usage can be read."),
    "postgres_replica_lag_seconds": Described(GAUGE, "How old the replica's figures are at most."),
    "valkey_up": Described(GAUGE, "1 if Valkey answers."),
    "drain_lag_seconds": Described(GAUGE, "Age of the oldest event not in the ledger."),
    "events_waiting": Described(GAUGE, "Events not in the ledger; of a shard 1,000 are counted."),
    "events_kept": Described(GAUGE, "Events in Valkey, those in the ledger included."),
    "leases": Described(GAUGE, "Exchanges in flight in all gateways, as Valkey has them."),
    "upstream_accounts_resting": Described(GAUGE, "Upstream accounts that rest."),
    "valkey_memory_bytes": Described(GAUGE, "Memory that Valkey uses."),
    "valkey_memory_bytes_max": Described(GAUGE, "Memory that Valkey may use; 0 is no bound."),
    "valkey_memory_share": Described(GAUGE, "Share of its bound that the fullest node uses."),
    "valkey_primaries": Described(GAUGE, "Nodes of Valkey that have keys; 1 without a cluster."),
    "dead_letters": Described(GAUGE, "Events that could not be written to the ledger."),
    "ledger_rows": Described(GAUGE, "Rows of the ledger, as Postgres estimates them."),
    "upstream_accounts_suspended": Described(GAUGE, "Enabled accounts whose credential failed."),
}


def exposed_names() -> Iterator[str]:
    """Return the name of every time series there can be."""
    for name, described in DESCRIBED.items():
        endings = {
            COUNTER: ("_total",),
            HISTOGRAM: ("_bucket", "_sum", "_count"),
            GAUGE: ("",),
        }[described.kind]
        yield from (f"{PREFIX}{name}{ending}" for ending in endings)


def text(snapshot: Snapshot) -> tuple[bytes, str]:
    """Return the page and its content type."""
    # Loaded when somebody asks: a gateway that nobody scrapes does without.
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

    class Page:
        def collect(self) -> Iterable[Any]:
            return _families(snapshot)

    page: Any = Page()
    return generate_latest(page), CONTENT_TYPE_PLAIN_0_0_4


def _families(snapshot: Snapshot) -> Iterator[Any]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    counters, histograms = _by_name(snapshot.counters), _by_name(snapshot.histograms)
    for name, described in DESCRIBED.items():
        full, meaning, labels = PREFIX + name, described.meaning, described.labels
        if described.kind == COUNTER:
            counter = CounterMetricFamily(full, meaning, labels=labels)
            for values, count in counters.get(name, ()):
                counter.add_metric(values, count)
            yield counter
        elif described.kind == HISTOGRAM:
            family = HistogramMetricFamily(full, meaning, labels=labels)
            for values, histogram in histograms.get(name, ()):
                family.add_metric(values, _buckets(histogram), histogram.total)
            yield family
        elif name in snapshot.gauges:
            yield GaugeMetricFamily(full, meaning, snapshot.gauges[name])


def _by_name(named: dict[tuple[str, ...], Any]) -> dict[str, list[tuple[tuple[str, ...], Any]]]:
    found: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for (name, *values), what in named.items():
        found.setdefault(name, []).append((tuple(values), what))
    return found


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, cumulated(histogram.counts), strict=True))
