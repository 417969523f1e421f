"""The console's home: what needs attention, today against yesterday, the busiest keys."""

import datetime as dt
import html
import time

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys import services
from keys.models import ApiKey
from operators.alerts.core.rules import Kind, Subject
from operators.alerts.models import Alert
from proxy.models import UpstreamAccount
from tests.factories import (
    a_budget,
    a_key,
    a_lead,
    a_stranger,
    a_team,
    a_viewer,
    an_operator,
)
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger, replica

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

HOME = reverse("admin:index")
LIVE = reverse("console_home_live")


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text(client, path=HOME) -> str:
    page = client.get(path)
    assert page.status_code == 200
    return html.unescape(page.content.decode())


@pytest.fixture
def operator() -> Client:
    return signed_in(an_operator())


@pytest.fixture
def used(valkey):
    """Settle an exchange of a key just now; write it to the ledger unless told otherwise."""

    def used(apikey, drained=True, seconds_ago=0, **closing):
        opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
        at_ms = int(timezone.now().timestamp() * 1000) - seconds_ago * 1000
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        if drained:
            ledger.drain()

    return used


@pytest.fixture
def replica_of_age(monkeypatch):
    """Have a replica whose figures are so old. It is the primary, by another name."""

    def of_age(age_s):
        standing = replica.Standing()
        standing._look_at = float("inf")
        standing._fresh_at = None if age_s is None else time.monotonic() - age_s
        monkeypatch.setattr(replica, "_standing", standing)

    primary = connections.databases[DEFAULT_DB_ALIAS]
    monkeypatch.setitem(connections.databases, replica.REPLICA, primary)
    connections[replica.REPLICA] = connections[DEFAULT_DB_ALIAS]
    yield of_age
    del connections[replica.REPLICA]


def test_when_all_is_well_it_says_so(operator):
    page = text(operator)
    assert "Nothing. Budgets, accounts, keys and the ledger are as they should be." in page
    assert "No exchange was settled today." in page


def test_the_busiest_keys_and_the_sums_of_today(operator, used):
    used(a_key(name="laptop"), cost_nanousd=2_500_000_000)
    used(a_key(name="desktop"), cost_nanousd=1_500_000_000)
    page = text(operator)
    assert "$4.00" in page
    assert page.index("laptop") < page.index("desktop")


@pytest.mark.parametrize(
    ("charged", "said"),
    [
        pytest.param(700, None, id="seven tenths are no matter"),
        pytest.param(800, "laptop has used 80% of its budget", id="near"),
        pytest.param(1_000, "laptop has spent its budget", id="spent"),
    ],
)
def test_a_budget_near_its_end_is_named(operator, used, charged, said):
    apikey = a_key(name="laptop", budgets=[])
    a_budget(apikey, limit=1_000, window_s=18_000)
    used(apikey, charged_tokens=charged)
    page = text(operator)
    assert ("of its budget" in page or "spent its budget" in page) == (said is not None)
    assert said is None or said in page


def test_the_budget_of_a_team_is_named_once(operator, used):
    team = a_team(name="platform")
    a_budget(team, limit=1_000, window_s=18_000)
    for _ in range(3):
        used(a_key(team=team, budgets=[]), charged_tokens=400)
    assert text(operator).count("Team platform has spent its budget") == 1


@pytest.fixture
def many_busier(monkeypatch):
    """As if others were busier than all keys of a test."""
    monkeypatch.setattr("claudcode.console.budgets.BUSIEST_MAX", 0)


def an_open_alert(subject, holder) -> Alert:
    """What the look for alerts leaves of a budget that is nearly used."""
    return Alert.objects.create(
        kind=Kind.BUDGET,
        subject_type=subject,
        subject_id=holder.pk,
        team=getattr(holder, "team", holder),
        threshold=75,
        key=f"budget {subject} {holder.pk}",
        slot=timezone.now(),
        text="75 % of a budget is used.",
    )


@pytest.mark.usefixtures("many_busier")
def test_of_all_keys_a_budget_with_an_open_alert_is_named(operator, used):
    alerted, other = a_key(name="laptop", budgets=[]), a_key(name="desktop", budgets=[])
    for apikey in (alerted, other):
        a_budget(apikey, limit=1_000, window_s=18_000)
        used(apikey, charged_tokens=800)
    an_open_alert(Subject.APIKEY, alerted)
    page = text(operator)
    assert "laptop has used 80% of its budget" in page
    assert "desktop has used" not in page


@pytest.mark.usefixtures("many_busier")
def test_the_budget_of_a_team_with_an_open_alert_is_named(operator, used):
    team = a_team(name="platform")
    a_budget(team, limit=1_000, window_s=18_000)
    used(a_key(team=team, budgets=[]), charged_tokens=1_000)
    an_open_alert(Subject.TEAM, team)
    assert text(operator).count("Team platform has spent its budget") == 1


def test_a_lead_is_shown_what_is_of_their_team(used):
    team = a_team(name="platform")
    for name, holder in (("laptop", team), ("desktop", a_team(name="research"))):
        apikey = a_key(name=name, team=holder, budgets=[])
        a_budget(apikey, limit=1_000, window_s=18_000)
        used(apikey, charged_tokens=800, cost_nanousd=2_000_000_000)
        expires_at = timezone.now() + dt.timedelta(hours=50)
        ApiKey.objects.filter(pk=apikey.pk).update(expires_at=expires_at)
        an_open_alert(Subject.APIKEY, apikey)
    page = text(signed_in(a_lead(team)))
    assert "laptop has used 80% of its budget" in page
    assert "laptop expires" in page
    assert "$2.00" in page
    assert "desktop" not in page


def test_a_key_that_expires_soon_is_named(operator):
    apikey = a_key(name="laptop")
    ApiKey.objects.filter(pk=apikey.pk).update(expires_at=timezone.now() + dt.timedelta(hours=50))
    a_key(name="desktop", expires_at=timezone.now() + dt.timedelta(days=20))
    page = text(operator)
    assert "laptop expires in 2 d" in page
    assert "desktop expires" not in page


def test_a_suspended_account_is_named(operator):
    services.maintenance_set(enabled=False, acting_user=None)
    UpstreamAccount.objects.create(
        name="first", base_url="https://upstream.example", enabled=True, credential="not readable"
    )
    assert "Upstream account first is unusable" in text(operator)


def test_maintenance_is_named(operator):
    services.maintenance_set(enabled=True, acting_user=None)
    assert "Maintenance is on" in text(operator)


def test_a_ledger_that_is_behind_is_named(operator, valkey):
    fields = {"x": "e", "t": 1, "o": "{}", "c": "", "k": "k1.0", "w": ""}
    old_ms = int(timezone.now().timestamp() * 1000) - 90_000
    valkey.xadd("{s00}:events", fields, id=f"{old_ms}-1")
    assert "The ledger is 1 m 3" in text(operator)


def test_valkey_away_is_named_and_the_page_stands(operator, used, settings):
    used(a_key(name="laptop"))
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    page = text(operator)
    assert "Valkey does not answer" in page
    assert "laptop" in page


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        pytest.param(None, "The replica of Postgres cannot be read", id="away"),
        pytest.param(7, "Figures of use are 7 s old", id="read, and old"),
        pytest.param(90, "The replica of Postgres is 1 m 30 s behind", id="too old to be read"),
    ],
)
def test_a_replica_that_lags_is_named(operator, replica_of_age, age_s, said):
    replica_of_age(age_s)
    assert said in text(operator)


def test_a_replica_that_is_near_is_not_named(operator, replica_of_age):
    replica_of_age(1)
    assert "replica" not in text(operator, LIVE)


def test_the_list_of_the_ledger_says_how_old_it_is(operator, replica_of_age):
    listed = reverse("admin:usage_ledgerentry_changelist")
    replica_of_age(1)
    assert "This list is" not in text(operator, listed)
    replica_of_age(7)
    assert "This list is 7 s old" in text(operator, listed)


def test_the_part_that_changes_can_be_read_alone(operator, used):
    used(a_key(name="laptop"))
    part = text(operator, LIVE)
    assert "laptop" in part
    assert "<html" not in part
    assert f'data-refresh="{LIVE}"' in text(operator)


def test_the_home_has_no_script_of_its_own(operator, used):
    used(a_key())
    content = operator.get(LIVE).content.decode()
    assert "<script" not in content
    assert "style=" not in content


def test_the_home_reads_nothing_of_the_ledger(operator, used, django_assert_max_num_queries):
    for _ in range(20):
        used(a_key(team=a_team()))
    with django_assert_max_num_queries(22) as queries:
        text(operator, LIVE)
    assert not [q for q in queries.captured_queries if "usage_ledgerentry" in q["sql"]]


def test_who_may_not_see_keys_or_use_is_shown_none(used):
    used(a_key(name="laptop"), cost_nanousd=2_500_000_000)
    page = text(signed_in(a_stranger()))
    assert "laptop" not in page
    assert "$2.50" not in page


def test_a_viewer_of_use_alone_gets_no_links_to_keys(used):
    used(a_key(name="laptop"))
    page = text(signed_in(a_viewer("usage")), LIVE)
    assert "laptop" in page
    assert "/admin/keys/apikey/" not in page


def test_who_is_not_signed_in_is_sent_away():
    assert Client().get(LIVE).status_code == 302
