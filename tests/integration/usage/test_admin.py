import csv
import html
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from keys.models import AuditEvent
from tests.factories import a_key, a_stranger, a_team, an_operator
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event, append_fields
from usage import ledger
from usage.admin.ledger import LedgerEntryAdmin
from usage.core.event import Attempt, CacheOutcome, ExchangeStatus
from usage.core.tokens import TokenUsage
from usage.models import LedgerEntry, Price

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

LEDGER = reverse("admin:usage_ledgerentry_changelist")
EXPORT = reverse("admin:usage_ledgerentry_export_csv")
ROLLUP = reverse("admin:usage_hourlyrollup_changelist")
DEAD_LETTERS = reverse("admin:usage_deadletter_changelist")
PRICES = reverse("admin:usage_price_changelist")
ADD_PRICE = reverse("admin:usage_price_add")


def signed_in(user) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


@pytest.fixture
def operator() -> Client:
    return signed_in(an_operator())


@pytest.fixture
def viewer() -> Client:
    user = User.objects.create_user("usage-viewer", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="usage", codename__startswith="view_")
    )
    return signed_in(user)


@pytest.fixture
def settled(valkey):
    """Settle one exchange and drain it."""

    def settle(opening=None, after_s=0, **closing):
        opening = opening or an_opening()
        at_ms = NOON_MS + after_s * 1000
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        ledger.drain()
        return LedgerEntry.objects.get(pk=opening.exchange_id)

    return settle


def entry_page(entry) -> str:
    return reverse("admin:usage_ledgerentry_change", args=[entry.pk])


def listed(client, query=None) -> set[uuid.UUID]:
    page = client.get(LEDGER, query)
    return {row.pk for row in page.context["cl"].result_list}


def text(response) -> str:
    return response.content.decode()


# --- Ledger -------------------------------------------------------------------------------------


def test_tokens_and_costs_are_written_for_people(operator, settled):
    apikey = a_key(name="laptop")
    settled(an_opening(apikey_id=apikey.pk), charged_tokens=1_234_567, cost_nanousd=12_345_678)
    page = text(operator.get(LEDGER))
    assert '<div class="text-right">1,234,567</div>' in page
    assert '<div class="text-right">$0.0123</div>' in page
    assert "laptop" in page


@pytest.mark.parametrize("path", [LEDGER, ROLLUP, DEAD_LETTERS])
def test_lists_that_grow_for_ever_are_never_counted(operator, settled, path):
    settled()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert operator.get(path).status_code == 200
    assert not [q["sql"] for q in queries if "COUNT(" in q["sql"] and "usage_" in q["sql"]]


def test_the_newest_come_first_page_by_page(operator, settled):
    entries = [settled(after_s=second) for second in range(55)]
    first = operator.get(LEDGER).context["cl"]
    assert [row.pk for row in first.result_list] == [entry.pk for entry in entries[:4:-1]]
    older = operator.get(LEDGER + first.older_url).context["cl"]
    assert [row.pk for row in older.result_list] == [entry.pk for entry in entries[4::-1]]
    assert (older.older_url, older.newest_url) == ("", "?")


def test_no_count_is_invented(operator, settled):
    settled()
    assert "9999999999" not in text(operator.get(LEDGER))


def test_what_is_settled_meanwhile_moves_no_page(operator, settled):
    entries = [settled() for _ in range(55)]  # All at one instant: the id tells them apart.
    first = operator.get(LEDGER).context["cl"]
    settled(after_s=9)
    older = operator.get(LEDGER + first.older_url).context["cl"]
    seen = {row.pk for row in [*first.result_list, *older.result_list]}
    assert seen == {entry.pk for entry in entries}


def test_a_filter_holds_on_the_next_page(operator, settled):
    for second in range(52):
        settled(after_s=second, status=ExchangeStatus.HUNG_UP)
        settled(after_s=second)
    first = operator.get(LEDGER, {"status": "hung_up"}).context["cl"]
    older = operator.get(LEDGER + first.older_url).context["cl"]
    assert [row.status for row in older.result_list] == ["hung_up"] * 2


@pytest.mark.parametrize("place", ["nonsense", "1-2", "99999999999999999999-" + "0" * 32])
def test_a_place_that_is_none_leads_to_the_newest(operator, settled, place):
    settled()
    assert operator.get(LEDGER, {"before": place}).status_code == 302


def test_the_ledger_is_exported_as_it_is_filtered(operator, settled, monkeypatch):
    monkeypatch.setattr("usage.admin.ledger_export.ROWS_AT_ONCE", 2)
    wanted = [settled(after_s=second, status=ExchangeStatus.HUNG_UP) for second in range(5)]
    settled()
    response = operator.get(EXPORT, {"status": "hung_up"})

    async def read():
        return [part.decode() async for part in response.streaming_content]

    text = "".join(async_to_sync(read)())
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["exchange_id"] for row in rows] == [entry.pk.hex for entry in reversed(wanted)]
    assert rows[0]["charged_tokens"] == "120"
    assert "attachment" in response["Content-Disposition"]


def test_who_may_not_see_the_ledger_cannot_export_it(settled):
    settled()
    stranger = signed_in(a_stranger())
    assert stranger.get(EXPORT).status_code in (302, 403)


def test_an_entry_shows_how_its_cost_was_computed(operator, settled):
    usage = TokenUsage(input_tokens=1_000, output_tokens=20, cache_read_input_tokens=300)
    entry = settled(usage=usage, cost_nanousd=1_130_000)
    page = text(operator.get(entry_page(entry)))
    for said in ("Price of claude-haiku-4-5", "1,000", "cache reads", "0.00113 USD"):
        assert said in page
    assert "The two differ" not in page
    other = settled(usage=usage, cost_nanousd=7)
    assert "The two differ" in text(operator.get(entry_page(other)))


def test_a_hit_leads_to_the_exchange_that_filled_the_cache(operator, settled):
    first = settled()
    hit = settled(cache=CacheOutcome.HIT, cache_source=first.request_id, saved_nanousd=9)
    assert entry_page(first) in text(operator.get(entry_page(hit)))


def test_a_list_of_many_keys_takes_few_queries(operator, settled):
    for _ in range(5):
        settled(an_opening(apikey_id=a_key(team=a_team()).pk))
    with CaptureQueriesContext(connection) as queries:
        operator.get(LEDGER)
    assert len(queries) < 12


def test_an_entry_whose_key_is_gone_still_shows(operator, settled):
    entry = settled(an_opening(apikey_id=987_654, team_id=876_543))
    page = text(operator.get(LEDGER))
    assert "key 987654" in page
    assert "team 876543" in page
    assert operator.get(entry_page(entry)).status_code == 200


def test_an_entry_shows_all_there_is_to_know(operator, settled):
    entry = settled(cost_nanousd=123_456_789)
    page = text(operator.get(entry_page(entry)))
    assert entry.request_id in page
    assert "0.123456789 USD" in page
    assert "claude-cli/2.1.330" in page


def test_every_attempt_can_be_read(operator, settled):
    tried = (Attempt("first", "529", 12), Attempt("second", "answered", 1_340))
    page = text(operator.get(entry_page(settled(attempts=tried))))
    assert "<div>first: 529 after 0.012 s</div><div>second: answered after 1.340 s</div>" in page


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        pytest.param((), "none", id="none"),
        pytest.param(None, "not known", id="an entry of the release before"),
    ],
)
def test_no_attempts_and_unknown_attempts_are_told_apart(operator, settled, attempts, said):
    assert LedgerEntryAdmin(LedgerEntry, site).tried(settled(attempts=attempts)) == said


def test_a_hit_shows_what_filled_the_cache_and_what_was_saved(operator, settled):
    entry = settled(
        cache=CacheOutcome.HIT,
        cache_source="req_filler",
        saved_tokens=1_234,
        saved_nanousd=987_654_321,
    )
    page = text(operator.get(entry_page(entry)))
    assert "req_filler" in page
    assert "0.987654321 USD" in page
    rolled_up = text(operator.get(ROLLUP))
    assert '<div class="text-right">$0.9877</div>' in rolled_up


@pytest.mark.parametrize("spelled", ["req_{0.hex}", "{0.hex}", "{0}", " req_{0.hex} "], ids=str)
def test_a_request_id_finds_its_exchange(operator, settled, spelled):
    entry = settled()
    settled()
    assert listed(operator, {"q": spelled.format(entry.pk)}) == {entry.pk}


def test_a_key_or_a_team_finds_its_exchanges(operator, settled):
    team = a_team(name="platform")
    apikey = a_key(name="laptop", team=team)
    mine = settled(an_opening(apikey_id=apikey.pk, team_id=team.pk))
    settled(an_opening(apikey_id=a_key(name="desktop").pk))
    for term in ("laptop", apikey.prefix, apikey.last_four, "platform"):
        assert listed(operator, {"q": term}) == {mine.pk}
    assert listed(operator, {"q": "nobody"}) == set()


def test_trouble_can_be_picked_out(operator, settled):
    settled()
    error = settled(status=ExchangeStatus.UPSTREAM_ERROR)
    hung_up = settled(status=ExchangeStatus.HUNG_UP)
    assert listed(operator, {"status": "any"}) == {error.pk, hung_up.pk}
    assert listed(operator, {"status": "hung_up"}) == {hung_up.pk}


def test_what_clients_send_is_shown_and_not_run(operator, settled):
    entry = settled(an_opening(client_agent="<script>alert(1)</script>"))
    page = text(operator.get(entry_page(entry)))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("name", ["ledgerentry", "hourlyrollup", "deadletter"])
def test_nobody_adds_changes_or_deletes_what_the_drain_wrote(operator, settled, name):
    entry = settled()
    assert operator.get(reverse(f"admin:usage_{name}_add")).status_code == 403
    if_deleted = reverse("admin:usage_ledgerentry_delete", args=[entry.pk])
    assert operator.post(if_deleted, {"post": "yes"}).status_code == 403
    assert operator.post(entry_page(entry), {"status": "completed"}).status_code == 403
    assert "delete_selected" not in text(operator.get(LEDGER))


def test_roll_ups_are_listed(operator, settled):
    settled(charged_tokens=1_234_567)
    page = text(operator.get(ROLLUP))
    assert "1,234,567" in page
    assert "claude-haiku-4-5" in page


def test_dead_letters_are_listed_with_their_fields(operator, valkey, caplog):
    append_fields(valkey, {"o": "{", "c": "", "t": 1, "w": ""})
    ledger.drain()
    (letter,) = operator.get(DEAD_LETTERS).context["cl"].result_list
    page = reverse("admin:usage_deadletter_change", args=[letter.pk])
    assert letter.fields["o"] == "{"
    assert letter.error in html.unescape(text(operator.get(page)))


def test_a_viewer_may_look(viewer, settled):
    entry = settled()
    for path in (LEDGER, ROLLUP, DEAD_LETTERS, PRICES, entry_page(entry)):
        assert viewer.get(path).status_code == 200


def test_a_stranger_may_not(settled):
    stranger = signed_in(a_stranger())
    for path in (LEDGER, ROLLUP, DEAD_LETTERS, PRICES, ADD_PRICE):
        assert stranger.get(path).status_code == 403


# --- Prices -------------------------------------------------------------------------------------


def a_form(**fields) -> dict:
    """The price form as a browser sends it."""
    return {
        "model": "claude-haiku-4-5",
        "starts_at_0": "2027-01-01",
        "starts_at_1": "00:00:00",
        "prompt_tokens_min": "0",
        "input_usd": "1.5",
        "output_usd": "7.5",
        "cache_creation_usd": "1.875",
        "cache_creation_1h_usd": "3",
        "cache_read_usd": "0.15",
        "web_search_usd": "10",
        "us_percent": "110",
    } | fields


def the_new_price() -> Price:
    return Price.objects.get(starts_at__year=2027)


def price_page(price) -> str:
    return reverse("admin:usage_price_change", args=[price.pk])


def test_a_price_is_typed_in_dollars_and_kept_in_nanodollars(operator):
    assert operator.post(ADD_PRICE, a_form()).status_code == 302
    price = the_new_price()
    assert (price.input_nanousd, price.output_nanousd) == (1_500, 7_500)
    assert (price.cache_creation_nanousd, price.cache_creation_1h_nanousd) == (1_875, 3_000)
    assert (price.cache_read_nanousd, price.web_search_nanousd) == (150, 10_000_000)
    event = AuditEvent.objects.get(action="price.create")
    assert event.actor_name.startswith("operator")


def test_a_price_is_shown_as_it_was_typed(operator):
    operator.post(ADD_PRICE, a_form())
    form = operator.get(price_page(the_new_price())).context["adminform"].form
    assert str(form["input_usd"].value()) == "1.5"
    assert str(form["cache_creation_usd"].value()) == "1.875"
    assert str(form["web_search_usd"].value()) == "10"


def test_prices_are_listed_in_dollars(operator):
    page = text(operator.get(PRICES))
    assert "claude-opus-4-6" in page
    assert ">6.25<" in page


def test_a_price_can_be_changed(operator):
    operator.post(ADD_PRICE, a_form())
    operator.post(price_page(the_new_price()), a_form(input_usd="2"))
    assert the_new_price().input_nanousd == 2_000
    assert AuditEvent.objects.get(action="price.update").detail["input_nanousd"] == [1_500, 2_000]


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param({"input_usd": "0.0005"}, id="finer than a nano-dollar a token"),
        pytest.param({"input_usd": "-1"}, id="negative"),
        pytest.param({"input_usd": "three"}, id="no number"),
        pytest.param({"input_usd": ""}, id="nothing"),
        pytest.param({"output_usd": "10001"}, id="a forgotten decimal point"),
        pytest.param({"model": "claude-next"}, id="a model that is not in the catalogue"),
        pytest.param({"us_percent": "0"}, id="free in the US"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(operator, typed):
    response = operator.post(ADD_PRICE, a_form(**typed))
    assert response.status_code == 200
    assert response.context["errors"]
    assert not Price.objects.filter(starts_at__year=2027).exists()


def test_two_prices_of_one_start_are_refused(operator):
    operator.post(ADD_PRICE, a_form())
    response = operator.post(ADD_PRICE, a_form(input_usd="9"))
    assert response.status_code == 200
    assert the_new_price().input_nanousd == 1_500


def test_a_price_is_not_deleted(operator):
    price = Price.objects.first()
    path = reverse("admin:usage_price_delete", args=[price.pk])
    assert operator.post(path, {"post": "yes"}).status_code == 403


def test_a_viewer_may_not_change_a_price(viewer):
    assert viewer.post(ADD_PRICE, a_form()).status_code == 403
    assert viewer.post(price_page(Price.objects.first()), a_form()).status_code == 403
