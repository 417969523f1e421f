"""The judge of a siege: it must let pass what is promised, and nothing else."""

from typing import Any
from uuid import UUID

import pytest

from tests.chaos.journal import Incident, Request
from tests.chaos.reconcile import reconcile

MARKER = "chaos/1/1/0"
ID = UUID(int=7)
USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 4,
}


def a_request(**fields: Any) -> Request:
    """A stream that its client saw to the end."""
    given: dict[str, Any] = {
        "marker": MARKER,
        "kind": "paced",
        "gateway": 0,
        "apikey_id": 1,
        "sent_at": 100.0,
        "ended_at": 104.0,
        "status": 200,
        "exchange_id": ID.hex,
        "usage": USAGE,
        "whole": True,
    }
    return Request(**given | fields)


def an_entry(**fields: Any) -> dict[str, Any]:
    """What upstream notes of it."""
    given = {
        "account": "healthy",
        "headers": {"user-agent": MARKER},
        "request_id": "req_up",
        "outcome": "finished",
        "streamed": True,
        "events": 25,
        "usage": USAGE,
        "output_tokens": 20,
    }
    return given | fields


def a_row(**fields: Any) -> dict[str, Any]:
    """What the ledger says of it."""
    given = {
        "exchange_id": ID,
        "client_agent": MARKER,
        "status": "completed",
        "error_type": "",
        "upstream_request_id": "req_up",
        "charged_tokens": 124,
        "cost_nanousd": 5,
        "estimated": False,
        "input_tokens_estimate": 90,
    }
    return given | USAGE | fields


def an_incident(name: str, gateway: int | None = 0, **fields: Any) -> Incident:
    """Something that was done to the gateway while the request was there."""
    return Incident(**{"name": name, "began": 101.0, "ended": 103.0, "gateway": gateway} | fields)


def violations(request=None, entries=None, rows=None, incidents=(), earlier=None) -> list[str]:
    return reconcile(
        [request or a_request(), *([earlier] if earlier else [])],
        [an_entry()] if entries is None else entries,
        [a_row()] if rows is None else rows,
        incidents,
    ).violations


LEFT = {"left": True, "whole": False}
BROKEN = {"whole": False, "usage": None, "trouble": "ClientPayloadError"}
KILLED = [an_incident("gateway killed")]
ABANDONED = a_row(
    status="abandoned", estimated=True, input_tokens=90, output_tokens=0, charged_tokens=90
)
HUNG_UP = an_entry(outcome="hung_up", output_tokens=10)
REFUSED = an_entry(account="overloaded", outcome="refused", usage=None, events=0)
CUT = {"account": "cutting", "outcome": "broken", "milliseconds": 3}
ANSWERED = {"account": "healthy", "outcome": "answered", "milliseconds": 3}
ESTIMATED = a_row(status="hung_up", estimated=True, output_tokens=12)


@pytest.mark.parametrize(
    "books",
    [
        pytest.param({}, id="completed, all equal"),
        pytest.param(
            {"request": a_request(status=503, whole=False), "entries": [], "rows": [],
             "incidents": [an_incident("valkey killed", gateway=None)]},
            id="refused while Valkey is away",
        ),
        pytest.param(
            {"request": a_request(status=503, whole=False), "entries": [], "rows": [],
             "incidents": [an_incident("gateway stopped", began=70.0, ended=75.0),
                           an_incident("postgres killed", gateway=None)]},
            id="a key that nobody had used since the gateway started",
        ),
        pytest.param(
            {"entries": [REFUSED, an_entry()], "rows": [a_row(attempts=[CUT, ANSWERED])]},
            id="another account answered",
        ),
        pytest.param(
            {"request": a_request(status=529, whole=False), "entries": [],
             "rows": [a_row(status="upstream_error", charged_tokens=0, attempts=[])]},
            id="all accounts rest",
        ),
        pytest.param(
            {"request": a_request(**LEFT), "entries": [HUNG_UP], "rows": [ESTIMATED]},
            id="hung up, estimated within the bound",
        ),
        pytest.param(
            {"request": a_request(**LEFT, usage={}), "rows": [a_row(status="hung_up")]},
            id="hung up and drained: exact",
        ),
        pytest.param(
            {"request": a_request(**BROKEN), "entries": [HUNG_UP], "rows": [ABANDONED],
             "incidents": KILLED},
            id="abandoned by a gateway that was killed",
        ),
        pytest.param(
            {"request": a_request(status=0, exchange_id="", **BROKEN), "entries": [], "rows": []},
            id="never arrived",
        ),
    ],
)  # fmt: skip
def test_what_is_promised_passes(books):
    assert violations(**books) == []


@pytest.mark.parametrize(
    ("books", "told"),
    [
        pytest.param({"rows": []}, "no ledger row, though upstream served it", id="missing"),
        pytest.param(
            {"entries": [], "rows": []}, "no ledger row, though its client saw 200", id="unseen"
        ),
        pytest.param({"rows": [a_row(), a_row()]}, "2 ledger rows", id="twice in the ledger"),
        pytest.param({"entries": [an_entry()] * 2}, "answered by", id="answered twice"),
        pytest.param(
            {"entries": [REFUSED, REFUSED, an_entry()], "rows": [a_row(attempts=[CUT, ANSWERED])]},
            "sent upstream 3 times, not 2",
            id="sent more often than booked",
        ),
        pytest.param(
            {"request": a_request(status=529, whole=False), "entries": [],
             "rows": [a_row(status="upstream_error", attempts=[ANSWERED])]},
            "upstream never saw it",
            id="booked as sent, and never seen",
        ),
        pytest.param({"rows": [a_row(output_tokens=21)]}, "output_tokens 21", id="miscounted"),
        pytest.param({"rows": [a_row(estimated=True)]}, "marked as estimated", id="estimated"),
        pytest.param(
            {"rows": [a_row(upstream_request_id="req_other")]}, "upstream's id", id="another's id"
        ),
        pytest.param(
            {"rows": [a_row(exchange_id=UUID(int=8))]}, "told another id", id="another's row"
        ),
        pytest.param({"entries": [HUNG_UP]}, "upstream says hung_up", id="completed too soon"),
        pytest.param(
            {"rows": [a_row(client_agent="chaos/9/9/9")]}, "nobody sent it", id="nobody's"
        ),
        pytest.param({"rows": [ABANDONED]}, "neither killed nor frozen", id="abandoned so"),
        pytest.param(
            {"rows": [ABANDONED | {"charged_tokens": 400}], "incidents": KILLED},
            "charged 400, not 90 to",
            id="abandoned and charged too much",
        ),
        pytest.param(
            {"rows": [ABANDONED | {"charged_tokens": 0}], "incidents": KILLED},
            "charged 0, not 90 to",
            id="abandoned and charged too little",
        ),
        pytest.param(
            {"request": a_request(**LEFT), "entries": [HUNG_UP],
             "rows": [ESTIMATED | {"charged_tokens": 0}]},
            "charged nothing",
            id="hung up for nothing",
        ),
        pytest.param(
            {"request": a_request(**LEFT), "entries": [HUNG_UP],
             "rows": [ESTIMATED | {"output_tokens": 2000}]},
            "2000 output tokens",
            id="hung up and charged max_tokens",
        ),
        pytest.param(
            {"rows": [a_row(status="hung_up")]}, "its client stayed", id="hung up by nobody"
        ),
        pytest.param(
            {"request": a_request(status=400, whole=False),
             "entries": [an_entry(outcome="refused", usage=None, events=0)],
             "rows": [a_row(status="upstream_error")]},
            "for a refusal",
            id="a refusal that costs",
        ),
        pytest.param(
            {"request": a_request(status=503, whole=False), "entries": [], "rows": []},
            "Valkey was there",
            id="refused for no reason",
        ),
        pytest.param(
            {"request": a_request(status=503, whole=False), "entries": [], "rows": [],
             "earlier": a_request(marker="chaos/1/0/0", sent_at=80.0, ended_at=81.0),
             "incidents": [an_incident("gateway stopped", began=70.0, ended=75.0),
                           an_incident("postgres killed", gateway=None)]},
            "Valkey was there",
            id="a key refused that was known",
        ),
        pytest.param(
            {"request": a_request(status=500, whole=False), "entries": [], "rows": []},
            "a fault of the gateway",
            id="a fault",
        ),
        pytest.param(
            {"rows": [a_row(status="gateway_error")]}, "was not stopped", id="a gateway's error"
        ),
    ],
)  # fmt: skip
def test_what_is_not_promised_is_told(books, told):
    assert [text for text in violations(**books) if told in text]


def test_an_event_that_was_flushed_is_named_so():
    incident = an_incident("valkey flushed", gateway=None, lost=frozenset({ID.hex}))
    assert "Its event was flushed." in violations(rows=[], incidents=[incident])[0]
