"""Three books of the same exchanges, held against each other: clients', upstream's, the ledger.

They meet in the marker, which each request carries as its user agent. Pure: values in, findings
out.

    upstream served it          one ledger row, exactly; and one account at most answered it, each
                                other that was asked refused, or broke off before a byte
    the client saw a 200        one ledger row, exactly
    the gateway refused it      none; or one that charges nothing, when it could not tell; and it
                                refuses only while Valkey is away, or when it stops; and a key that
                                it has not seen since it started, while Postgres is away
    completed                   every count is upstream's
    hung up, broken off         input is upstream's or the estimate; output within the bound
    abandoned                   only where a gateway was killed or frozen; between the estimate
                                and what upstream counted

Rows without an entry upstream are those of requests that never got there. An entry has, under
`account`, whose books it is from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.journal import Incident, Request

# Our estimate of output from its bytes (docs/limits.md), and what was still on its way.
ESTIMATE_FACTOR = 1.6
ESTIMATE_SLACK_TOKENS = 40
# How long gateways read answers on for keys that ask for it, once their client has left.
DRAIN_SECONDS_MAX = 10
# So long after its client an exchange may lose its gateway; and a moment.
AFTERMATH_S = DRAIN_SECONDS_MAX + 5.0
OURS_ALONE = frozenset({429, 503})
# Postgres keeps out only keys that a gateway has not seen since it started.
WITHOUT_POSTGRES = frozenset({"postgres killed", "postgres away"})
STARTING = frozenset({"gateway killed", "gateway stopped"})

COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """Which incidents may do what: end exchanges without their gateway, have a gateway say 503,
    end exchanges by its stop. `limited` are the keys that may be told 429.
    """

    losing_gateway: frozenset[str] = frozenset({"gateway killed", "gateway frozen"})
    # Postgres is not among them.
    refusing: frozenset[str] = frozenset(
        {"valkey killed", "valkey full", "gateway frozen", "gateway stopped"}
    )
    stopping: frozenset[str] = frozenset({"gateway stopped"})
    limited: frozenset[int] = frozenset()


CHAOS = Rules()


@dataclass(slots=True)
class Findings:
    """What was compared, and everything that is not as promised."""

    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    violations: list[str] = field(default_factory=list)


def reconcile(
    journal: Sequence[Request],
    entries: Sequence[Row],
    rows: Sequence[Row],
    incidents: Sequence[Incident],
    rules: Rules = CHAOS,
) -> Findings:
    """Compare the three books. `entries` are upstream's, `rows` the ledger's."""
    findings = Findings()
    requests = {request.marker: request for request in journal}
    served = _by_marker(entries, lambda entry: entry["headers"].get("user-agent", ""))
    booked = _by_marker(rows, lambda row: row["client_agent"])
    findings.statuses.update(row["status"] for row in rows)
    findings.outcomes.update(entry["outcome"] for entry in entries)
    findings.seen.update(request.seen for request in journal)
    judge = _Judge(findings, journal, incidents, rules)
    for marker in sorted((served.keys() | booked.keys()) - requests.keys()):
        judge.violation(f"{marker} is in the books, but nobody sent it")
    for marker, request in requests.items():
        judge.exchange(request, served.get(marker, []), booked.get(marker, []))
    return findings


def _by_marker(items: Iterable[Row], marker_of: Any) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for item in items:
        found.setdefault(marker_of(item), []).append(item)
    return found


class _Judge:
    def __init__(
        self,
        findings: Findings,
        journal: Sequence[Request],
        incidents: Sequence[Incident],
        rules: Rules,
    ) -> None:
        self._findings = findings
        self._rules = rules
        self._journal = journal
        self._incidents = incidents
        self._flushed = frozenset().union(*(incident.lost for incident in incidents))

    def violation(self, text: str) -> None:
        self._findings.violations.append(text)

    def exchange(self, request: Request, served: list[Row], booked: list[Row]) -> None:
        """Judge what the books say of one request."""
        what = f"{request.marker} ({request.kind}, {request.seen}, {request.exchange_id})"
        entry = self._answered(what, served)
        attempts = _attempts(booked[0]) if booked else []
        if attempts and len(served) > len(attempts):
            self.violation(f"{what}: sent upstream {len(served)} times, not {len(attempts)}")
        if len(booked) > 1:
            self.violation(f"{what}: {len(booked)} ledger rows")
        if request.status == 500:
            self.violation(f"{what}: a fault of the gateway: {request.trouble}")
        if request.status == 503 and not self._may_refuse(request):
            self.violation(f"{what}: Valkey was there: {request.trouble}")
        if request.status == 429 and request.apikey_id not in self._rules.limited:
            self.violation(f"{what}: no limit is that low: {request.trouble}")
        if not booked:
            self._missing(what, request, served)
        else:
            self._row(what, request, entry, booked[0])

    def _answered(self, what: str, served: list[Row]) -> Row | None:
        """Return what upstream has of the attempt that counts: the answer, or else a failure."""
        answers = [entry for entry in served if not _can_be_repeated(entry)]
        if len(answers) > 1:
            self.violation(f"{what}: answered by {[entry['account'] for entry in answers]}")
        return next(iter(answers or served), None)

    def _missing(self, what: str, request: Request, served: list[Row]) -> None:
        reason = ""
        if served:
            reason = f"upstream served it ({served[0]['outcome']})"
        elif request.status and request.status not in OURS_ALONE:
            reason = f"its client saw {request.status}"
        if reason:
            lost = " Its event was flushed." if request.exchange_id in self._flushed else ""
            self.violation(f"{what}: no ledger row, though {reason}.{lost}")

    def _row(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        what = f"{what}: {row['status']}"
        if request.exchange_id and request.exchange_id != row["exchange_id"].hex:
            self.violation(f"{what}: the client was told another id")
        if request.status in OURS_ALONE and entry is None:
            self._refused(what, request, row)
        elif row["status"] == "completed":
            self._completed(what, request, entry, row)
        elif row["status"] == "abandoned":
            self._abandoned(what, request, entry, row)
        elif row["status"] == "hung_up":
            self._hung_up(what, request, entry, row)
        elif row["status"] == "upstream_error":
            self._upstream_error(what, request, entry, row)
        else:
            self._gateway_error(what, request, entry, row)
        if request.whole and row["status"] not in ("completed", "abandoned"):
            self.violation(f"{what}: though the client saw it end")

    def _refused(self, what: str, request: Request, row: Row) -> None:
        voided = row["status"] == "gateway_error" and not row["charged_tokens"]
        # It had been sent, and its gateway stopped before upstream had read it.
        cut_short = bool(_attempts(row)) and self._during(request, self._rules.stopping)
        if not voided and not cut_short and not self._lost_its_gateway(request):
            self.violation(f"{what}: charged {row['charged_tokens']}, though it was refused")

    def _completed(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        if entry is None or entry["outcome"] != "finished":
            self.violation(f"{what}: upstream says {entry and entry['outcome']}")
            return
        self._equal(what, request, entry, row)

    def _equal(self, what: str, request: Request, entry: Row, row: Row) -> None:
        self._findings.exact += 1
        if row["upstream_request_id"] != entry["request_id"]:
            self.violation(f"{what}: upstream's id is {entry['request_id']}")
        told_client = request.usage if request.whole else None
        for told, usage in (("upstream", entry["usage"]), ("the client", told_client)):
            for name in COUNTS if usage else ():
                if row[name] != usage[name]:
                    self.violation(f"{what}: {name} {row[name]}, {told} says {usage[name]}")
        if row["estimated"]:
            self.violation(f"{what}: marked as estimated")

    def _hung_up(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        if not request.left and not request.trouble:
            self.violation(f"{what}: its client stayed")
        if entry is None or entry["outcome"] == "refused":
            return
        if not row["estimated"]:
            self._equal(what, request, entry, row)
            return
        if not row["charged_tokens"]:
            self.violation(f"{what}: charged nothing")
        self._estimate(what, entry, row)

    def _upstream_error(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        if entry is None:
            # All accounts rest; or a gateway that wakes up finds its time to connect over.
            sent = [attempt for attempt in _attempts(row) if attempt["outcome"] != "connect"]
            if row["charged_tokens"] or (sent and not self._lost_its_gateway(request)):
                self.violation(f"{what}: upstream never saw it")
        elif entry["outcome"] == "refused":
            if row["charged_tokens"] or row["cost_nanousd"]:
                self.violation(f"{what}: charged {row['charged_tokens']} for a refusal")
        elif entry["outcome"] in ("cut", "error"):
            if entry["events"]:
                self._estimate(what, entry, row)
        else:
            self.violation(f"{what}: upstream says {entry['outcome']}")

    def _abandoned(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        if not self._lost_its_gateway(request):
            self.violation(f"{what}: its gateway was neither killed nor frozen")
        least = row["input_tokens_estimate"]
        counted = _tokens(entry) if entry else 0
        most = max(least, counted * ESTIMATE_FACTOR + ESTIMATE_SLACK_TOKENS)
        if not least <= row["charged_tokens"] <= most:
            self.violation(f"{what}: charged {row['charged_tokens']}, not {least} to {most:.0f}")

    def _gateway_error(self, what: str, request: Request, entry: Row | None, row: Row) -> None:
        voided = row["error_type"] == "store_unavailable" and not row["charged_tokens"]
        if not voided and not self._during(request, self._rules.stopping):
            self.violation(f"{what} ({row['error_type']}): its gateway was not stopped")
        if entry is not None and entry["outcome"] in ("hung_up", "finished") and entry["events"]:
            self._estimate(what, entry, row)

    def _estimate(self, what: str, entry: Row, row: Row) -> None:
        """Input as upstream counted it or as estimated at admission; output near upstream's."""
        usage, output = entry["usage"], row["output_tokens"]
        if usage is None:
            return
        known = {usage["input_tokens"], row["input_tokens_estimate"]}
        if row["input_tokens"] not in known:
            self.violation(f"{what}: {row['input_tokens']} input tokens, not one of {known}")
        if entry["streamed"]:
            most = entry["output_tokens"] * ESTIMATE_FACTOR + ESTIMATE_SLACK_TOKENS
            if output > most:
                self.violation(f"{what}: {output} output tokens, upstream sent {most:.0f} at most")

    def _lost_its_gateway(self, request: Request) -> bool:
        return self._during(request, self._rules.losing_gateway)

    def _may_refuse(self, request: Request) -> bool:
        return self._during(request, self._rules.refusing) or any(
            not self._knew_the_key(request, before=incident.began)
            for incident in self._incidents_during(request, WITHOUT_POSTGRES)
        )

    def _knew_the_key(self, request: Request, before: float) -> bool:
        """Whether its gateway had answered its key after it started and `before` an instant."""
        starts = [
            incident.ended
            for incident in self._incidents
            if incident.name in STARTING
            and incident.gateway == request.gateway
            and incident.began < request.sent_at
        ]
        return any(
            (other.gateway, other.apikey_id) == (request.gateway, request.apikey_id)
            and other.status == 200
            and other.sent_at > max(starts, default=0.0)
            and other.ended_at < before
            for other in self._journal
        )

    def _during(self, request: Request, names: Iterable[str]) -> bool:
        return any(self._incidents_during(request, names))

    def _incidents_during(self, request: Request, names: Iterable[str]) -> Iterator[Incident]:
        return (
            incident
            for incident in self._incidents
            if incident.name in names
            and incident.gateway in (request.gateway, None)
            and incident.began <= request.ended_at + AFTERMATH_S
            and incident.ended >= request.sent_at - 1
        )


def _tokens(entry: Row) -> int:
    usage = entry["usage"] or dict.fromkeys(COUNTS, 0)
    return sum(usage[name] for name in COUNTS[:1] + COUNTS[2:]) + int(entry["output_tokens"])


def _attempts(row: Row) -> list[Row]:
    return row.get("attempts") or []


def _can_be_repeated(entry: Row) -> bool:
    """Whether nothing of an answer came, so that another account may be asked."""
    return entry["outcome"] == "refused" or (entry["outcome"] == "cut" and not entry["events"])
