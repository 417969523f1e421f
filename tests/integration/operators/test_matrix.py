"""The permission matrix, asked of the pages themselves. What it says is in `matrix.py`."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch, reverse

from keys.models import AuditEvent
from keys.services import member_add
from operators.roles import PERMISSIONS, Role
from proxy.services import upstream_add
from tests.factories import a_key, a_plan, a_stranger, a_team
from tests.integration.operators.matrix import ACTIONS, OWN_PAGES, PAGES, ROLES
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.models import LedgerEntry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

STANDARD = {"changelist", "add", "history", "delete", "change"}
EVERY_ACTION = [(table, name) for table, names in ACTIONS.items() for name in names]


@pytest.fixture
def rows(valkey) -> dict[str, object]:
    """One row of every table."""
    team = a_team()
    apikey = a_key(team=team)
    opening = an_opening(apikey_id=apikey.pk)
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)
    ledger.drain()
    account = upstream_add(name="dead", base_url="http://127.0.0.1:9", acting_user=None)
    made = {"keys.apikey": apikey, "keys.team": team, "keys.plan": a_plan()}
    made |= {"keys.auditevent": AuditEvent.objects.latest("id"), "proxy.upstreamaccount": account}
    made |= {"auth.user": a_stranger(), "usage.ledgerentry": LedgerEntry.objects.get()}
    others = {label: apps.get_model(label).objects.first() for label in PAGES if label not in made}
    return made | others


def someone(letter: str, team) -> User:
    user = User.objects.create_user(f"role-{letter}", is_staff=True)
    user.groups.add(Group.objects.get(name=ROLES[letter]))
    if letter == "L":
        member_add(team=team, user=user, lead=True, acting_user=None)
    return user


def clients(rows) -> dict[str, Client]:
    signed_in = {letter: Client() for letter in ROLES}
    for letter, client in signed_in.items():
        client.force_login(someone(letter, rows["keys.team"]))
    return signed_in


def allowed(clients: dict[str, Client], ask) -> str:
    """Return the letters of those who are not refused."""
    statuses = {letter: ask(client).status_code for letter, client in clients.items()}
    assert set(statuses.values()) <= {200, 302, 403}, statuses
    return "".join(letter for letter in ROLES if statuses[letter] != 403)


def address(table: str, page: str, row) -> str:
    name = f"admin:{table.replace('.', '_')}_{'change' if page == 'save' else page}"
    # A table nobody has filled yet is asked for a row that is not there.
    return reverse(name, args=[] if page in ("changelist", "add") else [row.pk if row else 1])


@pytest.mark.parametrize("table", PAGES)
def test_pages_open_to_those_the_matrix_names(rows, table):
    visitors = clients(rows)
    found = {
        page: allowed(
            visitors,
            lambda client, page=page: (client.post if page == "save" else client.get)(
                address(table, page, rows[table])
            ),
        )
        for page in PAGES[table]
    }
    # Django sends whoever asks for the history of no row to the first page, before it looks.
    expected = PAGES[table] if rows[table] else PAGES[table] | {"history": "LVOA"}
    assert found == expected


@pytest.mark.parametrize("name", OWN_PAGES)
def test_pages_of_actions_open_to_those_the_matrix_names(rows, name):
    table = next(label for label in PAGES if name.startswith(label.replace(".", "_")))
    pk = rows[table].pk
    url = first_of(
        lambda: reverse(f"admin:{name}"),
        lambda: reverse(f"admin:{name}", args=[pk]),
        lambda: reverse(f"admin:{name}", args=[pk, "disable"]),
    )
    assert allowed(clients(rows), lambda client: client.get(url)) == OWN_PAGES[name]


def first_of(*ways) -> str:
    for way in ways:
        try:
            return way()
        except NoReverseMatch:
            continue
    raise AssertionError("no way")


@pytest.mark.parametrize(("table", "name"), EVERY_ACTION)
def test_actions_are_offered_to_those_the_matrix_names(rows, table, name):
    page = admin.site.get_model_admin(apps.get_model(table))
    found = ""
    for letter in ROLES:
        request = RequestFactory().get("/")
        request.user = someone(letter, rows["keys.team"])
        found += letter if name in page.get_actions(request) else ""
    assert found == ACTIONS[table][name]


def test_nothing_is_missing_from_the_matrix():
    registered = {m._meta.label_lower: page for m, page in admin.site._registry.items()}
    assert registered.keys() == PAGES.keys()
    own = {
        pattern.name
        for label, page in registered.items()
        for pattern in page.get_urls()
        if pattern.name and pattern.name.removeprefix(f"{label.replace('.', '_')}_") not in STANDARD
    }
    assert own == OWN_PAGES.keys()
    actions = {label: set(page.actions or ()) for label, page in registered.items()}
    assert {k: v for k, v in actions.items() if v} == {k: set(v) for k, v in ACTIONS.items()}


@pytest.mark.parametrize("table", PAGES)
def test_who_has_no_role_sees_nothing(rows, table):
    client = Client()
    client.force_login(a_stranger())
    asked = [page for page in PAGES[table] if (table, page) != ("keys.maintenance", "changelist")]
    pages = [
        address(table, page, rows[table]) for page in asked if rows[table] or page != "history"
    ]
    assert {client.get(page).status_code for page in pages} == {403}


@pytest.mark.parametrize("table", PAGES)
def test_who_is_not_signed_in_is_asked_to(rows, table):
    pages = [address(table, page, rows[table]) for page in PAGES[table]]
    answers = [Client().get(page) for page in pages]
    assert {a["Location"].partition("?")[0] for a in answers} == {"/admin/login/"}


def test_a_lead_opens_no_row_of_another_team(rows):
    other = a_key(team=a_team())
    client = clients(rows)["L"]
    for page in ("change", "save"):
        ask = client.post if page == "save" else client.get
        assert ask(address("keys.apikey", page, other)).status_code == 302
    assert client.get(address("keys.apikey", "change", rows["keys.apikey"])).status_code == 200


def test_groups_have_what_the_roles_say_and_no_more():
    from operators.roles import roles_sync

    Group.objects.get(name="viewer").permissions.clear()
    Group.objects.get(name="operator").permissions.set(
        Group.objects.get(name="admin").permissions.all()
    )
    roles_sync()
    held = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }
    assert held.keys() == {role.value for role in PERMISSIONS}
    assert held[Role.TEAM_LEAD] == {"lead_team"}
    assert held[Role.VIEWER] < held[Role.OPERATOR] < held[Role.ADMIN]
    assert {name[:5] for name in held[Role.VIEWER]} == {"view_"}
    assert "operate_upstreamaccount" in held[Role.OPERATOR]
    assert "change_upstreamaccount" not in held[Role.OPERATOR]
