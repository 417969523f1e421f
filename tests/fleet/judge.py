"""The verdict on a run: tests/chaos compares the books, and here is what a fleet adds to that.

a gateway         may say 503 while a primary of Valkey is replaced, or when it stops
nginx             may say 502 or 504 of its own while a host is cut off
rolling restart   no request fails, whatever else; a 429 is its key's limit
limits            tests/fleet/limits.py
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.journal import Incident, Request
from tests.chaos.reconcile import Findings, Rules, reconcile
from tests.fleet.limits import Blind, Limited, Use, Verdict, judge
from tests.fleet.scenes import CUT_OFF, PARTITION, PROMOTED, RESTART, UNWRITTEN_S, VALKEY_KILLED

# Asked for by the clients themselves: see tests/chaos/mix.py.
BROKEN_ON_PURPOSE = frozenset({"cut", "error event", "refused 400"})
# The markers of those who ask a gateway itself, whom nobody leads elsewhere when it restarts.
DIRECT = "direct/"
OF_NGINX = "<center>nginx"
# When nginx may be the one that answers.
UNREACHABLE = frozenset({CUT_OFF, PARTITION})
# What a fleet's store may forget, or a holder come back to.
FORGETFUL = frozenset({CUT_OFF, VALKEY_KILLED, PARTITION})

# What `ledger_verify` says of a window. Its budget is of tokens, dollars or requests.
_WINDOW = re.compile(r"window \w+\.\d+:(\w+):.*?([\d,]+), ledger ([\d,]+)$")
_COLUMNS = {"tok": "charged_tokens", "usd": "cost_nanousd"}

Row = Mapping[str, Any]


@dataclass(slots=True)
class Judgement:
    """What was found."""

    findings: Findings
    of_nginx: Counter[int] = field(default_factory=Counter)
    restarted_through: int = 0
    limits: dict[str, Verdict] = field(default_factory=dict)


def rules(limited: Sequence[Limited]) -> Rules:
    """Return what each incident may do to an exchange."""
    return Rules(
        losing_gateway=UNREACHABLE,
        refusing=frozenset({CUT_OFF, VALKEY_KILLED, PARTITION, PROMOTED}),
        stopping=frozenset({CUT_OFF, PARTITION}),
        limited=frozenset(one.apikey_id for one in limited),
    )


def judged(
    journal: Sequence[Request],
    entries: Sequence[Row],
    rows: Sequence[Row],
    incidents: Sequence[Incident],
    limited: Sequence[Limited],
    renew_s: float,
) -> Judgement:
    """Compare all books."""
    of_nginx = Counter(request.status for request in journal if _of_nginx(request))
    restarted = [
        request
        for request in journal
        if _during(request, incidents, {RESTART}) and not request.marker.startswith(DIRECT)
    ]
    failed = [request for request in restarted if failure(request, rules(limited).limited)]
    for request in journal:
        if _of_nginx(request):
            _never_answered(request)
    found = reconcile(journal, entries, rows, incidents, rules(limited))
    found.violations += [
        f"{request.marker} ({request.kind}, {request.seen}): failed in a rolling restart:"
        f" {request.trouble[:200]}"
        for request in failed
    ]
    found.violations += [
        f"{request.marker} ({request.kind}): {request.trouble}, and no host was cut off"
        for request in journal
        if request.trouble.startswith("nginx") and not _during(request, incidents, UNREACHABLE)
    ]
    judgement = Judgement(found, of_nginx, len(restarted))
    for one in limited:
        verdict = judge(one, _uses(one, rows), _blinds(incidents, renew_s))
        judgement.limits[one.kind.value] = verdict
        if not verdict.kept:
            found.violations.append(f"{one.kind.value} of {one.limit}: {verdict}")
    return judgement


def forgiven(
    difference: str, rows: Sequence[Row], incidents: Sequence[Incident], renew_s: float
) -> bool:
    """Return whether a window may be that far below the ledger: see docs/fleet.md.

    After a failover of Valkey, and by what was settled at that time. Never above the ledger.
    """
    found = _WINDOW.search(difference)
    if found is None:
        return False
    used, booked = (int(text.replace(",", "")) for text in found.groups()[1:])
    blinds = _blinds([one for one in incidents if one.name != CUT_OFF], renew_s)
    then = [
        row
        for row in rows
        if any(blind.began <= row["settled_at"].timestamp() <= blind.ended for blind in blinds)
    ]
    column = _COLUMNS.get(found[1])
    allowed = sum(row[column] for row in then) if column else len(then)
    return 0 < booked - used <= allowed


def failure(request: Request, limited: frozenset[int]) -> bool:
    """Return whether a request failed that nobody had asked to fail."""
    if request.left or request.whole:
        return False
    if request.status == 429:
        return request.apikey_id not in limited
    if request.kind in BROKEN_ON_PURPOSE:
        return request.status not in (200, 400)
    return True


def _of_nginx(request: Request) -> bool:
    return request.status in (502, 504) and OF_NGINX in request.trouble


def _never_answered(request: Request) -> None:
    request.trouble = f"nginx said {request.status}"
    request.status = 0


def _during(
    request: Request, incidents: Sequence[Incident], names: set[str] | frozenset[str]
) -> bool:
    return any(
        incident.name in names
        and incident.began <= request.ended_at
        and incident.ended >= request.sent_at
        for incident in incidents
    )


def _blinds(incidents: Sequence[Incident], renew_s: float) -> list[Blind]:
    known_s = max(renew_s, UNWRITTEN_S)
    return [
        Blind(incident.began - 1, incident.ended + known_s)
        for incident in incidents
        if incident.name in FORGETFUL
    ]


def _uses(limited: Limited, rows: Sequence[Row]) -> list[Use]:
    return [
        Use(row["admitted_at"].timestamp(), row["settled_at"].timestamp(), row["charged_tokens"])
        for row in rows
        if row["apikey_id"] == limited.apikey_id
    ]
