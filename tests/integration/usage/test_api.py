"""Usage, ledger and prices over the management API."""

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from tests.factories import a_key, a_model, a_spec, a_team
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from tests.management import ApiClient
from usage.api.totals import ROWS_MAX, SUMS
from usage.ledger import drain
from usage.models import DeadLetter, HourlyRollup, Price

pytestmark = pytest.mark.django_db

HOUR_MS = 3_600_000
DAY = "since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z"
RATES = ("input", "output", "cache_creation", "cache_creation_1h", "cache_read")
PRICE = {f"{rate}_nanousd": 1_000 for rate in RATES} | {"starts_at": "2031-01-01T00:00:00Z"}


@pytest.fixture
def api(valkey) -> ApiClient:
    return ApiClient("usage:read", "ledger:read", "prices:*")


@pytest.fixture
def used(valkey):
    """Writes one exchange of `apikey` into the ledger and returns its request id."""

    def write(apikey, *, hours: int = 0, **closing) -> str:
        opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
        at_ms = NOON_MS + hours * HOUR_MS
        append_event(valkey, opening, a_closing(**closing), charged_at_ms=at_ms)
        drain(valkey)
        return f"req_{uuid.UUID(opening.exchange_id).hex}"

    return write


def groups(answer, *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in answer.json()["items"]]


# --- Usage --------------------------------------------------------------------------------------


def test_usage_adds_up_to_one_row(api, used):
    apikey = a_key()
    used(apikey)
    used(apikey, hours=1)
    answer = api.get(f"usage?{DAY}")
    assert groups(answer, "requests", "charged_tokens", "cost_nanousd") == [(2, 240, 400_000)]


def test_usage_of_nothing_is_zero(api):
    assert groups(api.get(f"usage?{DAY}"), "requests", "cost_nanousd") == [(0, 0)]


def test_usage_is_grouped_by_what_is_asked(api, used):
    first, second = a_key(team=a_team()), a_key()
    used(first)
    used(second, model_answered="claude-sonnet-4-5")
    answer = api.get(f"usage?{DAY}&group_by=apikey,model,team")
    assert groups(answer, "apikey_id", "model", "team_id") == [
        (first.pk, "claude-haiku-4-5", first.team_id),
        (second.pk, "claude-sonnet-4-5", None),
    ]


def test_hours_and_days_begin_in_utc(api, used):
    apikey = a_key()
    used(apikey)
    used(apikey, hours=1)
    hours = groups(api.get(f"usage?{DAY}&group_by=hour"), "hour", "requests")
    assert hours == [("2026-03-01T12:00:00Z", 1), ("2026-03-01T13:00:00Z", 1)]
    days = groups(api.get(f"usage?{DAY}&group_by=day"), "day", "requests")
    assert days == [("2026-03-01T00:00:00Z", 2)]


@pytest.mark.parametrize("by", ["apikey_id", "team_id", "model"])
def test_usage_is_narrowed(api, used, by):
    apikey = a_key(team=a_team())
    used(apikey, model_answered="claude-opus-4-1")
    used(a_key())
    values = {"apikey_id": apikey.pk, "team_id": apikey.team_id, "model": "claude-opus-4-1"}
    assert groups(api.get(f"usage?{DAY}&{by}={values[by]}"), "requests") == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", id="backwards"),
        pytest.param("since=2024-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", id="too long"),
        pytest.param("until=0001-01-01T00:00:00Z", id="before time"),
        pytest.param("since=yesterday", id="a word"),
        pytest.param("group_by=apikey,apikey", id="twice"),
        pytest.param("group_by=hour,day", id="hour and day"),
        pytest.param("group_by=owner", id="unknown group"),
        pytest.param("by=apikey", id="unknown name"),
    ],
)
def test_a_question_that_means_nothing_is_refused(api, query):
    assert api.get(f"usage?{query}").status_code == 400


def test_a_table_that_would_be_cut_is_refused(api):
    counts = {field.name: 0 for field in HourlyRollup._meta.fields if field.name in SUMS}
    hour = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    HourlyRollup.objects.bulk_create(
        HourlyRollup(hour=hour, apikey_id=number, model="m", **counts)
        for number in range(ROWS_MAX + 1)
    )
    assert len(api.get(f"usage?{DAY}&group_by=apikey&apikey_id=7").json()["items"]) == 1
    assert api.get(f"usage?{DAY}&group_by=apikey").status_code == 422


# --- Ledger -------------------------------------------------------------------------------------


def test_an_exchange_is_found_by_its_request_id(api, used):
    request_id = used(a_key())
    shown = api.get(f"ledger/{request_id}").json()
    assert (shown["request_id"], shown["output_tokens"]) == (request_id, 20)
    assert shown["attempts"][0]["account"] == "default"


@pytest.mark.parametrize("name", ["req_" + "0" * 32, "req_x", "1", "0" * 32])
def test_an_exchange_that_is_not_there(api, name):
    assert api.get(f"ledger/{name}").status_code == 404


def test_the_ledger_is_paged_newest_first_each_entry_once(api, used):
    apikey = a_key()
    # Two of one instant: their order is that of their ids.
    made = {used(apikey), used(apikey), used(apikey, hours=1)}
    seen, after = [], ""
    for _ in range(3):
        answer = api.get(f"ledger?limit=1{after}").json()
        seen += [item["request_id"] for item in answer["items"]]
        after = f"&after={answer['next']}"
    assert answer["next"] is None
    assert len(seen) == 3
    assert set(seen) == made


def test_the_ledger_is_narrowed(api, used):
    apikey = a_key(team=a_team())
    wanted = used(apikey, hours=2)
    used(apikey)
    used(a_key(), hours=2)
    query = f"apikey_id={apikey.pk}&team_id={apikey.team_id}&since=2026-03-01T14:00:00Z"
    found = groups(api.get(f"ledger?{query}&until=2026-03-01T15:00:00Z"), "request_id")
    assert found == [(wanted,)]


def test_trouble_is_found(api, used):
    apikey = a_key()
    used(apikey)
    wanted = used(apikey, status="upstream_error", http_status=529)
    assert groups(api.get("ledger?status=trouble"), "request_id") == [(wanted,)]


# --- Prices -------------------------------------------------------------------------------------


def test_a_price_is_set_and_corrected(api):
    a_model(model_id="claude-test-1")
    made = api.post("prices", PRICE | {"model_id": "claude-test-1"})
    assert made.status_code == 201
    changed = api.patch(f"prices/{made.json()['id']}", {"output_nanousd": 5_000})
    assert (changed.json()["output_nanousd"], changed.json()["input_nanousd"]) == (5_000, 1_000)
    assert groups(api.get("prices?model_id=claude-test-1"), "id") == [(made.json()["id"],)]


def test_a_price_of_no_model_is_refused(api):
    answer = api.post("prices", PRICE | {"model_id": "claude-nobody"})
    assert answer.json()["errors"][0]["pointer"] == "#/model_id"


def test_two_prices_of_one_instant_are_refused(api):
    a_model(model_id="claude-test-1")
    body = PRICE | {"model_id": "claude-test-1"}
    assert [api.post("prices", body).status_code for _ in range(2)] == [201, 422]
    assert Price.objects.filter(model="claude-test-1").count() == 1


# --- How a key stands, and dead letters ---------------------------------------------------------


@pytest.mark.usefixtures("valkey")
def test_a_key_says_how_it_stands():
    apikey = a_key(rpm=60, budgets=[a_spec(limit=1000)])
    answer = ApiClient("keys:read").get(f"keys/{apikey.pk}/standing")
    assert answer.json()["in_flight"] == 0
    (budget,) = answer.json()["budgets"]
    assert (budget["holder"], budget["unit"], budget["limit"]) == ("key", "tokens", 1000)
    assert (budget["used"], budget["held"], budget["frees_at"]) == (0, 0, None)


@pytest.mark.usefixtures("valkey")
def test_a_key_that_is_not_there_stands_nowhere():
    assert ApiClient("keys:read").get("keys/999999/standing").status_code == 404


@pytest.mark.usefixtures("valkey")
def test_dead_letters_are_read_as_they_came():
    letter = DeadLetter.objects.create(
        shard=1, stream_id="1-1", fields={"a": "b"}, error="odd", found_at=timezone.now()
    )
    api = ApiClient("ledger:read")
    assert api.get("dead-letters").json()["items"][0]["fields"] == {"a": "b"}
    assert api.get(f"dead-letters/{letter.pk}").json()["error"] == "odd"
