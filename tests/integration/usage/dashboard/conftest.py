"""Two teams and a key without one, each of which used something just now, and those who look."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from keys.models import ApiKey, Team
from keys.policy import holder_shard
from tests.factories import a_key_and_secret, a_lead, a_team, an_operator
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger
from usage.dashboard import reader
from usage.dashboard.recent import Recent

# How much each used: no two alike, and none a sum of others.
COSTS = {"mine": 1_000_000_000, "mate": 20_000_000_000, "other": 300_000_000_000}


@dataclass
class Cast:
    """`mine` and `mate` are keys of one team, `other` of another; `owner` owns mine alone."""

    keys: dict[str, ApiKey]
    secrets: dict[str, str]
    teams: dict[str, Team]
    owner: User
    lead: User
    operator: User
    nobody: User

    def client(self, who: str) -> Client:
        """A browser in which `who` is signed in: by account, or by the key "mine"."""
        client = Client(headers={"accept": "text/html"})
        if who == "key":
            sent = client.post("/usage/sign-in/", {"api_key": self.secrets["mine"]})
            assert sent.status_code == 302
        elif who != "stranger":
            client.force_login(getattr(self, who))
        return client


@pytest.fixture(autouse=True)
def _nothing_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who poll share a reading for a moment, which here may be of the test before."""
    monkeypatch.setattr(reader, "_polled", Recent(float("-inf")))


@pytest.fixture
def use(valkey: Any) -> Callable[..., None]:
    """Makes a key use something, which is in the ledger then."""

    def used(apikey: ApiKey, *, opening: dict[str, Any] | None = None, **closing: Any) -> None:
        now_ms = time.time_ns() // 1_000_000
        opened = {"apikey_id": apikey.pk, "team_id": apikey.team_id, "admitted_at_ms": now_ms - 900}
        append_event(
            valkey,
            an_opening(**opened | (opening or {})),
            a_closing(**closing),
            shard=holder_shard(apikey),
            charged_at_ms=now_ms,
        )
        ledger.drain()

    return used


@pytest.fixture
def cast(db: None, use: Callable[..., None]) -> Cast:
    """Everybody, after each key has used something."""
    teams = {"ours": a_team(name="team-ours"), "theirs": a_team(name="team-theirs")}
    owner = User.objects.create_user("owner")
    made = {
        "mine": a_key_and_secret(name="key-mine", team=teams["ours"], owner=owner),
        "mate": a_key_and_secret(name="key-mate", team=teams["ours"]),
        "other": a_key_and_secret(name="key-other", team=teams["theirs"]),
    }
    keys = {name: apikey for name, (apikey, _secret) in made.items()}
    for name, apikey in keys.items():
        opening = {"session_id": f"session-{name}", "client_agent": f"client-{name}/1"}
        use(
            apikey,
            opening=opening,
            cost_nanousd=COSTS[name],
            upstream=f"account-{name}",
            model_answered=f"model-{name}",
        )
    return Cast(
        keys=keys,
        secrets={name: secret.text for name, (_apikey, secret) in made.items()},
        teams=teams,
        owner=owner,
        lead=a_lead(teams["ours"]),
        operator=an_operator(),
        nobody=User.objects.create_user("nobody"),
    )


@pytest.fixture
def span() -> str:
    """A query that holds what was just used."""
    now = dt.datetime.now(dt.UTC)
    since = (now - dt.timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    until = (now + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    return f"since={since}&until={until}&zone=UTC"
