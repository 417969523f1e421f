"""Tables of usage sorted by any column and without some of them, as the server makes them."""

import csv
import datetime as dt
import io
import re
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from usage.dashboard.arranging import COLUMNS_COOKIE, places
from usage.dashboard.panels import PANELS
from usage.dashboard.tables import Column, Table

BERLIN = ZoneInfo("Europe/Berlin")
ROWS = (
    (dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), "beta", 3, None),
    (dt.datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1), "Alpha", 3, 7),
    (dt.datetime(2026, 10, 25, 1, 0, tzinfo=BERLIN), "gamma", 1, 0),
)
COLUMNS = (
    Column("start", "From", "at"),
    Column("name", "Name", "text"),
    Column("requests", "Requests"),
    Column("p50_ms", "Median", "ms"),
)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param("start", [2, 0, 1], id="instants, not what the clock said"),
        pytest.param("-start", [1, 0, 2], id="the latest first"),
        pytest.param("name", [1, 0, 2], id="names whatever their case"),
        pytest.param("-requests", [0, 1, 2], id="what is equal stays as it was"),
        pytest.param("p50_ms", [2, 1, 0], id="what is not known comes last"),
        pytest.param("-p50_ms", [1, 2, 0], id="and last the other way too"),
        pytest.param("nonsense", [0, 1, 2], id="no such column"),
    ],
)
def test_rows_stand_in_the_order(order, expected):
    assert places(Table("t", "T", COLUMNS, ROWS), order) == expected


def names(client: Any, table: str, query: str) -> list[str]:
    html = client.get(f"/usage/table/{table}/?{query}").content.decode()
    return re.findall(r'<tr><td data-label="Key">(?:<a [^>]*>)?([^<]+)', html)


@pytest.fixture
def busy(cast, use) -> Any:
    """A client of somebody who sees all; the cheapest key sent most requests."""
    for _ in range(2):
        use(cast.keys["mine"], cost_nanousd=0)
    return cast.client("operator")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("order", "first"),
    [("", "other"), ("cost_nanousd", "mine"), ("-requests", "mine"), ("key", "mate")],
)
def test_a_list_is_sorted_by_what_the_address_says(busy, cast, span, order, first):
    assert names(busy, "top-key", f"{span}&sort-top-key={order}")[0].startswith(f"key-{first}")


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["requests", "cost_nanousd"])
def test_a_list_that_is_cut_holds_those_with_most_of_what_it_is_sorted_by(
    busy, span, monkeypatch, by
):
    monkeypatch.setattr("usage.dashboard.panels.TOP_SHOWN", 1)
    (found,) = names(busy, "top-key", f"{span}&sort-top-key=-{by}")
    assert found.startswith({"requests": "key-mine", "cost_nanousd": "key-other"}[by])


@pytest.mark.django_db
@pytest.mark.parametrize("order", ["last_at", "agents", "requests", "errors", "tokens", "key"])
def test_sessions_are_sorted_by_any_column(busy, span, order):
    html = busy.get(f"/usage/table/sessions/?{span}&sort-sessions=-{order}").content.decode()
    assert len(re.findall("<tr><td", html)) == 4
    assert re.findall(r'aria-sort="(\w+)"[^>]*><a [^>]*data-sort="(\w+)"', html) == [
        ("descending", order)
    ]


@pytest.mark.django_db
def test_a_file_is_sorted_as_its_table(busy, cast, span):
    answer = busy.get(f"/usage/export/top-key.csv?{span}&sort-top-key=cost_nanousd")
    rows = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    assert [int(row["cost_nanousd"]) for row in rows] == sorted(
        [1_000_000_000, 20_000_000_000, 300_000_000_000]
    )


@pytest.mark.django_db
def test_the_order_stays_in_every_link_and_form_of_the_page(busy, span):
    html = busy.get(f"/usage/?{span}&sort-top-key=-requests").content.decode()
    assert 'name="sort-top-key" value="-requests"' in html
    states = re.findall(r'href="\?([^"]*)"', html)
    assert [link for link in states if "sort-top-key=" not in link] == []


@pytest.mark.django_db
def test_columns_that_were_not_chosen_are_gone_until_they_are(busy, span):
    address = "/usage/columns/top-key/"
    offered = ["requests", "charged_tokens", "cost_nanousd", "cost_before_nanousd"]
    told = busy.post(address, {"offered": offered, "shown": ["cost_nanousd"], "query": span})
    assert told["Location"] == f"/usage/?{span.replace(':', '%3A')}#panel-top-key"
    html = busy.get(f"/usage/table/top-key/?{span}").content.decode()
    assert re.findall(r'data-sort="(\w+)"', html) == ["key", "cost_nanousd"]
    assert "Columns (3 hidden)" in html
    assert 'data-sort="requests"' in busy.get(f"/usage/table/top-model/?{span}").content.decode()
    busy.post(address, {"offered": offered, "shown": offered})
    html = busy.get(f"/usage/table/top-key/?{span}").content.decode()
    assert len(re.findall("data-sort", html)) == 5


@pytest.mark.django_db
@pytest.mark.parametrize("said", ["~~", "top-key", "top-key.<b>", "x" * 9_000, "top-key.key.nope"])
def test_a_cookie_that_means_nothing_hides_nothing(busy, span, said):
    busy.cookies[COLUMNS_COOKIE] = said
    html = busy.get(f"/usage/table/top-key/?{span}").content.decode()
    assert len(re.findall("data-sort", html)) == 5


@pytest.mark.django_db
def test_every_table_can_be_asked_for_sorted_by_its_last_column(busy, cast, use, span):
    use(cast.keys["mine"], status="upstream_error", error_type="overloaded_error")
    for name in PANELS:
        answer = busy.get(f"/usage/table/{name}/?{span}")
        assert answer.status_code == 200
        last = re.findall(r'data-sort="([^"]+)"', answer.content.decode())[-1]
        sorted_by = busy.get(f"/usage/table/{name}/", {**pairs(span), f"sort-{name}": last})
        assert 'aria-sort="ascending"' in sorted_by.content.decode(), name


def pairs(query: str) -> dict[str, str]:
    return dict(part.split("=") for part in query.split("&"))
