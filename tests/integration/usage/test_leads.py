"""What the lead of a team sees of the ledger."""

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import a_key, a_lead, a_team
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.models import HourlyRollup, LedgerEntry

pytestmark = pytest.mark.django_db

PAGES = {
    "exchanges": (reverse("admin:usage_ledgerentry_changelist"), LedgerEntry),
    "hours": (reverse("admin:usage_hourlyrollup_changelist"), HourlyRollup),
}


@pytest.fixture
def teams(valkey):
    teams = [a_team(), a_team()]
    for team in [*teams, None]:
        opening = an_opening(apikey_id=a_key(team=team).pk, team_id=team.pk if team else None)
        append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)
    ledger.drain()
    return teams


@pytest.fixture
def lead(teams) -> Client:
    client = Client()
    client.force_login(a_lead(teams[0]))
    return client


@pytest.mark.parametrize(("url", "model"), PAGES.values(), ids=PAGES)
def test_a_lead_sees_the_rows_of_their_team(lead, teams, url, model):
    rows = lead.get(url).context["cl"].result_list
    assert [row.team_id for row in rows] == [teams[0].pk]
    assert model.objects.count() == 3


def test_a_lead_opens_no_other_exchange(lead, teams):
    theirs, other = (LedgerEntry.objects.get(team_id=team.pk) for team in teams)
    page = "admin:usage_ledgerentry_change"
    assert lead.get(reverse(page, args=[theirs.pk])).status_code == 200
    assert lead.get(reverse(page, args=[other.pk])).status_code == 302


def test_a_lead_without_a_team_sees_nothing(teams):
    client = Client()
    client.force_login(a_lead())
    assert not list(client.get(PAGES["exchanges"][0]).context["cl"].result_list)
