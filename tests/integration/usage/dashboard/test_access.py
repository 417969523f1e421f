"""Who sees whose usage: every way in, for everybody, whatever they write into the address."""

import json
from itertools import product

import pytest

from tests.integration.usage.dashboard.conftest import COSTS
from usage.dashboard.panels import OPERATORS_ONLY, PANELS

pytestmark = pytest.mark.django_db

# Of the three keys, whose use each may see.
SEES = {
    "operator": {"mine", "mate", "other"},
    "lead": {"mine", "mate"},
    "owner": {"mine"},
    "key": {"mine"},
    "nobody": set(),
}
EVERYBODY = pytest.mark.parametrize("who", SEES)
SUMS = {sum(COSTS[name] for name in names): names for names in SEES.values()}
# What somebody may try to see more: filters, and the ids in them, of keys and teams not theirs.
TRIES = ["", "&whose=keys", "&whose=teams", "&key={other}", "&team={theirs}", "&group=key",
         "&key={other}&team={theirs}", "&model=model-other", "&key=*", "&team=%00"]  # fmt: skip
DETAILED = ("use", "top-key", "first-byte", "sessions")


def written(cast, text: str) -> str:
    ids = {name: apikey.pk for name, apikey in cast.keys.items()}
    return text.format(theirs=cast.teams["theirs"].pk, **ids)


def tells_of(text: str, cast) -> set[str]:
    """Return of whose keys a text tells, by all that they are known by."""
    known = {
        name: (f"key-{name}", apikey.prefix, f"session-{name}", f"model-{name}", f"account-{name}",
               f"client-{name}", str(COSTS[name]))
        for name, apikey in cast.keys.items()
    }  # fmt: skip
    return {name for name, words in known.items() if any(word in text for word in words)}


@EVERYBODY
def test_a_page_tells_of_nobody_else(cast, span, who):
    client = cast.client(who)
    for attempt in TRIES:
        # What was typed into the address stands in the form again: of that it tells nothing new.
        asked = written(cast, attempt)
        page = client.get(f"/usage/?{span}{asked}")
        assert page.status_code == 200
        typed = {name for name in ("other", "mate") if f"-{name}" in asked}
        assert tells_of(page.content.decode(), cast) - typed <= SEES[who], attempt


@EVERYBODY
def test_a_page_tells_of_all_that_is_ones_own(cast, span, who):
    page = cast.client(who).get(f"/usage/?{span}&group=key").content.decode()
    assert tells_of(page, cast) == SEES[who]


@EVERYBODY
def test_a_file_tells_of_nobody_else(cast, span, who):
    client = cast.client(who)
    for name, attempt in [*((name, "") for name in PANELS), *product(DETAILED, TRIES)]:
        answer = client.get(f"/usage/export/{name}.json?{span}{written(cast, attempt)}")
        assert answer.status_code in (200, 400, 404)
        if answer.status_code == 200:
            rows = json.dumps(json.loads(answer.getvalue())["rows"])
            assert tells_of(rows, cast) <= SEES[who], (name, attempt)


@EVERYBODY
def test_a_table_of_the_page_tells_of_nobody_else(cast, span, who):
    client = cast.client(who)
    for name in PANELS:
        answer = client.get(f"/usage/table/{name}/?{span}&sort-{name}=-requests&group=key")
        assert answer.status_code in (200, 404)
        assert tells_of(answer.content.decode(), cast) <= SEES[who], name


@EVERYBODY
def test_a_table_tells_of_nobody_else(cast, span, who):
    answer = cast.client(who).get(f"/usage/export/top-key.csv?{span}")
    assert tells_of(answer.getvalue().decode(), cast) == SEES[who]


@EVERYBODY
def test_sums_are_of_what_one_may_see(cast, span, who):
    answer = cast.client(who).get(f"/usage/export/use.json?{span}&group=none&measure=cost")
    rows = json.loads(answer.getvalue())["rows"]
    assert SUMS[sum(row["Cost"] for row in rows)] == SEES[who]


@EVERYBODY
def test_now_tells_of_nobody_else(cast, who):
    answer = cast.client(who).get("/usage/now/")
    assert tells_of(answer.content.decode(), cast) == SEES[who]
    assert answer.json()["requests"]["exact"] == str(len(SEES[who]))


@EVERYBODY
def test_sessions_of_others_are_not_there(cast, span, who):
    client = cast.client(who)
    for name, apikey in cast.keys.items():
        for key in ("", f"&key={apikey.pk}"):
            page = client.get(f"/usage/session/session-{name}/?{span}{key}")
            assert page.status_code == (200 if name in SEES[who] else 404), (name, key)


@pytest.mark.parametrize("who", [who for who in SEES if who != "operator"])
@pytest.mark.parametrize("name", sorted(OPERATORS_ONLY))
def test_accounts_upstream_are_the_operators_to_see(cast, span, who, name):
    client = cast.client(who)
    assert client.get(f"/usage/export/{name}.csv?{span}").status_code == 404
    assert client.get(f"/usage/table/{name}/?{span}").status_code == 404
    assert client.post(f"/usage/columns/{name}/").status_code == 404
    page = client.get(f"/usage/?{span}&group=upstream").content.decode()
    assert "account-" not in page


@pytest.mark.parametrize(
    "page", ["", "export/use.csv", "session/session-mine/", "now/", "table/use/"]
)
def test_a_stranger_is_asked_to_sign_in(cast, page):
    answer = cast.client("stranger").get(f"/usage/{page}")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/usage/sign-in/?next=")


def test_a_script_of_a_stranger_is_told_so(cast):
    answer = cast.client("stranger").get("/usage/now/", headers={"accept": "application/json"})
    assert answer.status_code == 401


@EVERYBODY
def test_nothing_is_kept_by_caches(cast, who):
    assert cast.client(who).get("/usage/")["Cache-Control"] == "no-store"
