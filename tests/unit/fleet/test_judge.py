"""The judge of a fleet: who may fail when. The books themselves are judged by tests/chaos."""

from typing import Any

import pytest

from tests.chaos.journal import Incident, Request
from tests.fleet.judge import judged

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
