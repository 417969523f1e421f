"""The list of keys and a key's own page: what they show, to whom, and what they cost."""

import datetime as dt
import html

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys import services
from keys.models import ApiKey
from tests.factories import a_budget, a_key, a_lead, a_team, a_viewer, an_operator
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger
from usage.admin.key_page import EXCHANGES_SHOWN

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

KEYS = reverse("admin:keys_apikey_changelist")


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(an_operator())
    return client


@pytest.fixture
def used(valkey):
    """Settle exchanges of a key just now, and write them to the ledger."""

    def used(apikey, times=1, **closing):
        for _ in range(times):
            opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
            at_ms = int(timezone.now().timestamp() * 1000)
            append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        ledger.drain()

    return used


def page_of(client, apikey, **query) -> str:
    page = client.get(reverse("admin:keys_apikey_change", args=[apikey.pk]), query)
    assert page.status_code == 200
    return html.unescape(page.content.decode())


def listed(client, **query) -> set[int]:
    return {row.pk for row in client.get(KEYS, query).context["cl"].result_list}


# --- The list -----------------------------------------------------------------------------------


def test_the_list_tells_how_a_key_stands(operator, used):
    apikey = a_key(name="laptop", team=a_team(name="platform"), budgets=[])
    a_budget(apikey, window_s=18_000, limit=1_000)
    used(apikey, charged_tokens=800, cost_nanousd=2_500_000_000)
    page = operator.get(KEYS).content.decode()
    for said in ("laptop", apikey.masked, "platform", "≈ 800 of 1.0k tokens / 5h", "$2.50 today"):
        assert said in page
    assert "near its limit" in page
    assert "1 requests in the last 24 hours" in page


def test_many_keys_cost_the_queries_of_one(operator, used, django_assert_max_num_queries):
    for _ in range(20):
        used(a_key(team=a_team(), owner=an_operator()))
    with django_assert_max_num_queries(15):
        assert len(listed(operator)) == 20


def test_the_list_counts_no_further_than_its_cap(operator, monkeypatch):
    for _ in range(4):
        a_key(budgets=[])
    assert "4 API keys" in operator.get(KEYS).content.decode()
    monkeypatch.setattr("keys.admin.base.CappedPaginator.most", 3)
    assert "more than 3 API keys" in operator.get(KEYS).content.decode()


def test_without_valkey_the_list_still_tells_what_it_knows(operator, used, settings):
    apikey = a_key()
    used(apikey)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert "not known" in operator.get(KEYS).content.decode()


@pytest.mark.parametrize("term", ["lap", "LAPTOP", "{0.last_four}", "{0.prefix}", "{0.masked}"])
def test_a_key_is_found_by_name_or_by_what_a_developer_reads_out(operator, term):
    apikey = a_key(name="laptop")
    a_key(name="desktop")
    assert listed(operator, q=term.format(apikey)) == {apikey.pk}


@pytest.mark.parametrize("term", ["maria", "platf"])
def test_a_key_is_found_by_its_owner_or_team(operator, term):
    owner = User.objects.create_user("maria")
    mine = a_key(owner=owner, team=a_team(name="platform"))
    a_key()
    assert listed(operator, q=term) == {mine.pk}


def test_keys_are_told_apart_by_use(operator, used):
    busy, idle = a_key(), a_key()
    used(busy)
    assert listed(operator, used="day") == {busy.pk}
    assert listed(operator, used="never") == {idle.pk}


def test_keys_are_told_apart_by_their_end(operator):
    soon, later, never = a_key(), a_key(), a_key()
    now = timezone.now()
    ApiKey.objects.filter(pk=soon.pk).update(expires_at=now + dt.timedelta(days=3))
    ApiKey.objects.filter(pk=later.pk).update(expires_at=now + dt.timedelta(days=20))
    assert listed(operator, expires="7") == {soon.pk}
    assert listed(operator, expires="30") == {soon.pk, later.pk}
    assert listed(operator, expires="never") == {never.pk}


def test_keys_are_told_apart_by_whether_they_work(operator):
    works, disabled = a_key(), a_key()
    services.apikey_disable(apikey=disabled, acting_user=None)
    assert listed(operator, status="active") == {works.pk}
    assert listed(operator, status="disabled") == {disabled.pk}


def test_who_may_not_see_use_sees_keys_without_it(used):
    apikey = a_key(name="laptop")
    used(apikey, cost_nanousd=2_500_000_000)
    client = Client()
    client.force_login(a_viewer("keys"))
    page = client.get(KEYS).content.decode()
    assert "laptop" in page
    assert "$2.50" not in page
    assert "$2.50" not in page_of(client, apikey)


# --- A key's own page ---------------------------------------------------------------------------


def test_a_key_s_page_shows_use_exchanges_and_trail(operator, used):
    apikey = a_key(name="laptop")
    used(apikey, times=EXCHANGES_SHOWN + 1, cost_nanousd=1_000_000_000)
    services.apikey_update(apikey=apikey, changes={"rpm": 7}, acting_user=None)
    page = page_of(operator, apikey)
    assert "$11.00" in page
    assert (
        page.count("/admin/usage/ledgerentry/") - page.count("ledgerentry/?q=") >= EXCHANGES_SHOWN
    )
    assert "rpm: 60 → 7" in page
    assert "claude-haiku-4-5" in page


def test_the_chart_can_look_back_thirty_days(operator, used):
    apikey = a_key()
    used(apikey)
    assert "each day" in page_of(operator, apikey, span="30d")
    assert "each hour" in page_of(operator, apikey, span="nonsense")


@pytest.mark.parametrize(
    ("do", "offered", "not_offered"),
    [
        pytest.param(None, {"disable", "revoke", "reset"}, {"enable"}, id="a key that works"),
        pytest.param("disable", {"enable", "revoke"}, {"disable"}, id="a disabled key"),
        pytest.param("revoke", set(), {"enable", "extend", "reset"}, id="a revoked key"),
    ],
)
def test_a_key_s_page_offers_what_can_be_done(operator, do, offered, not_offered):
    apikey = a_key()
    if do:
        getattr(services, f"apikey_{do}")(apikey=apikey, acting_user=None)
    page = page_of(operator, apikey)
    asked = {name for name in offered | not_offered if f"/{apikey.pk}/ask/{name}/" in page}
    assert asked == offered


def test_a_viewer_is_offered_nothing(used):
    apikey = a_key()
    client = Client()
    viewer = a_viewer("keys")
    viewer.user_permissions.add(*Permission.objects.filter(codename="view_hourlyrollup"))
    client.force_login(viewer)
    assert "/ask/" not in page_of(client, apikey)


def test_a_key_s_page_costs_few_queries(operator, used, django_assert_max_num_queries):
    apikey = a_key(team=a_team())
    used(apikey, times=12)
    with django_assert_max_num_queries(26):
        page_of(operator, apikey)


def live_part(client, apikey) -> str:
    part = client.get(reverse("admin:keys_apikey_live", args=[apikey.pk]))
    assert part.status_code == 200
    return html.unescape(part.content.decode())


def test_the_part_of_a_key_s_page_that_updates_can_be_read_alone(operator, used):
    apikey = a_key(name="laptop", budgets=[])
    a_budget(apikey, window_s=18_000, limit=1_000)
    assert "None yet" in live_part(operator, apikey)
    used(apikey, charged_tokens=800)
    part = live_part(operator, apikey)
    assert "≈ 800 of 1.0k tokens / 5h" in part
    assert "/admin/usage/ledgerentry/" in part
    assert "<html" not in part
    address = reverse("admin:keys_apikey_live", args=[apikey.pk])
    assert f'data-refresh="{address}"' in page_of(operator, apikey)


def test_the_part_that_updates_costs_few_queries(operator, used, django_assert_max_num_queries):
    apikey = a_key(team=a_team())
    used(apikey, times=12)
    with django_assert_max_num_queries(11):
        live_part(operator, apikey)


def test_nobody_reads_a_part_of_a_key_that_is_not_there(operator):
    assert operator.get(reverse("admin:keys_apikey_live", args=[10**9])).status_code == 404


# --- For the leads of teams ---------------------------------------------------------------------


@pytest.fixture
def team():
    return a_team(name="platform")


@pytest.fixture
def lead(team) -> Client:
    client = Client()
    client.force_login(a_lead(team))
    return client


def test_a_lead_sees_what_a_key_of_their_team_does(lead, team, used):
    apikey = a_key(name="laptop", team=team)
    used(apikey, cost_nanousd=2_500_000_000)
    services.apikey_update(apikey=apikey, changes={"rpm": 7}, acting_user=None)
    page = page_of(lead, apikey)
    assert "$2.50" in page
    assert "/admin/usage/ledgerentry/" in page
    assert "rpm: 60 → 7" in page
    assert "$2.50 today" in lead.get(KEYS).content.decode()
    assert "/admin/usage/ledgerentry/" in live_part(lead, apikey)


@pytest.mark.parametrize("page", ["change", "live"])
def test_a_lead_sees_no_key_of_another_team(lead, used, page):
    theirs = a_key(team=a_team(name="research"))
    used(theirs)
    answer = lead.get(reverse(f"admin:keys_apikey_{page}", args=[theirs.pk]))
    assert answer.status_code in (302, 404)
    assert theirs.pk not in listed(lead)


def test_a_lead_sees_nothing_of_what_a_key_was_before_it_came_to_the_team(lead, team, used):
    apikey = a_key(team=a_team(name="research"))
    used(apikey, cost_nanousd=3_000_000_000)
    services.apikey_update(apikey=apikey, changes={"rpm": 7}, acting_user=None)
    services.apikey_update(apikey=apikey, changes={"team": team}, acting_user=None)
    apikey = ApiKey.objects.get(pk=apikey.pk)
    page = page_of(lead, apikey)
    assert "None yet" in page
    assert "Nothing was used in this span." in page
    assert "rpm: 60 → 7" not in page
    listing = lead.get(KEYS).content.decode()
    assert "$3.00" not in listing
    assert "0 requests in the last 24 hours" in listing
    assert "never" in listing
    used(apikey, cost_nanousd=1_000_000_000)
    assert "$1.00 today" in lead.get(KEYS).content.decode()
    assert "$1.00" in page_of(lead, apikey)
