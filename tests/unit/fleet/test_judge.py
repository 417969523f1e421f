"""The judge of a fleet: who may fail when. The books themselves are judged by tests/chaos."""

import datetime as dt
from typing import Any

import pytest

from tests.chaos.journal import Incident, Request
from tests.fleet.judge import forgiven, judged

RESTART = Incident("rolling restart", 100.0, 120.0)
CUT_OFF = Incident("gateway cut off", 100.0, 120.0)
OF_NGINX = {"status": 502, "trouble": "<html><center>nginx</center></html>"}
REFUSED = {"status": 0, "trouble": "refused"}


def violations(incident: Incident, **fields: Any) -> list[str]:
    given: dict[str, Any] = {
        "marker": "fleet/1/1/0",
        "kind": "paced",
        "gateway": 0,
        "apikey_id": 1,
        "sent_at": 105.0,
        "ended_at": 106.0,
    }
    request = Request(**given | fields)
    return judged([request], [], [], [incident], [], renew_s=3).findings.violations


@pytest.mark.parametrize(
    ("incident", "request_"),
    [
        pytest.param(RESTART, {"left": True}, id="who left in a restart"),
        pytest.param(RESTART, {**REFUSED, "marker": "direct/1/1/0"}, id="who asked no proxy"),
        pytest.param(CUT_OFF, OF_NGINX, id="nginx reaches nobody in a host that is cut off"),
        pytest.param(CUT_OFF, {"status": 503}, id="a gateway that is back and sees no store yet"),
    ],
)
def test_what_may_happen_passes(incident, request_):
    assert violations(incident, **request_) == []


@pytest.mark.parametrize(
    ("incident", "request_", "says"),
    [
        pytest.param(RESTART, OF_NGINX, "failed in a rolling restart", id="nginx's own error"),
        pytest.param(RESTART, REFUSED, "failed in a rolling restart", id="no connection"),
        pytest.param(RESTART, {"status": 503}, "failed in a rolling restart", id="a refusal"),
        pytest.param(
            RESTART, {"status": 200, "trouble": "ClientPayloadError"}, "failed in", id="a cut"
        ),
        pytest.param(RESTART, {"status": 429}, "no limit is that low", id="an unlimited key"),
        pytest.param(
            CUT_OFF, {**OF_NGINX, "sent_at": 10.0, "ended_at": 11.0}, "no host was", id="before it"
        ),
    ],
)
def test_what_must_not_happen_does_not(incident, request_, says):
    assert any(says in violation for violation in violations(incident, **request_))


ROW = {"settled_at": dt.datetime.fromtimestamp(110, dt.UTC), "charged_tokens": 50}
PARTITION = Incident("network partitioned", 100.0, 120.0)


@pytest.mark.parametrize(
    ("incident", "difference", "expected"),
    [
        pytest.param(PARTITION, "window k4.0:tok:72:a: used 1,000, ledger 1,050", True, id="it is"),
        pytest.param(PARTITION, "window k4.0:tok:72: bucket 7 10, ledger 70", False, id="too far"),
        pytest.param(PARTITION, "window k4.0:tok:72: bucket 7 20, ledger 10", False, id="above"),
        pytest.param(PARTITION, "hour 7: tokens 10, ledger 20", False, id="a roll-up"),
        pytest.param(
            CUT_OFF, "window k4.0:tok:72: bucket 7 10, ledger 20", False, id="no failover"
        ),
    ],
)
def test_a_window_may_be_below_the_ledger_by_what_a_failover_forgot(incident, difference, expected):
    assert forgiven(f"ledger_verify: {difference}", [ROW], [incident], renew_s=3) is expected
