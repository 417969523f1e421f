"""The socket of "Now" on a running gateway: whom it serves, of what it tells, when it ends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from keys.services import apikey_disable, apikey_revoke
from operators import services
from tests.acceptance.installation import entries_of
from tests.factories import a_key_and_secret, a_lead, a_team, a_viewer
from tests.waiting import wait_until

PATIENCE_S = 20
SLOW = "[[sim:tokens=400]] [[sim:rate=20]]"


@pytest.fixture
def enter(gateway):
    """Opens the socket of whoever's session it is."""

    @contextmanager
    def entered(session: str = "", **headers: str) -> Iterator[ClientConnection]:
        given = {"Origin": gateway.url, "Cookie": f"sessionid={session}"} | headers
        address = gateway.url.replace("http:", "ws:") + "/usage/live"
        sent = {name: value for name, value in given.items() if value}
        with connect(address, additional_headers=sent, proxy=None) as socket:
            yield socket

    return entered


def by_key(secret: str) -> str:
    client = Client()
    assert client.post("/usage/sign-in/", {"api_key": secret}).status_code == 302
    return client.cookies["sessionid"].value


def by_account(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def heard(socket: ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE_S))
    return told


def closed(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as ended:
        wait_until(lambda: socket.recv(timeout=PATIENCE_S) is None, PATIENCE_S, every_s=0)
    return ended.value.rcvd.code if ended.value.rcvd else None


def test_it_tells_of_an_exchange(enter, developer):
    with enter(by_key(developer.secret)) as socket:
        assert heard(socket)["requests"]["exact"] == "0"
        assert developer.ask().status_code == 200
        entries_of(developer.apikey, 1)
        wait_until(lambda: heard(socket)["requests"]["exact"] == "1", PATIENCE_S, every_s=0)


def test_it_tells_of_what_is_in_flight(enter, developer):
    with enter(by_key(developer.secret)) as socket, developer.listen(SLOW):
        wait_until(lambda: heard(socket)["in_flight"] == 1, PATIENCE_S, every_s=0)


def used_by(socket: ClientConnection) -> set[str]:
    return {each["key"] for each in heard(socket)["busiest"]}


def test_each_is_told_of_their_own(enter, a_developer):
    team, owner = a_team(), User.objects.create_user("owner-of-a-socket")
    mine, mate = a_developer(team=team, owner=owner), a_developer(team=team)
    other = a_developer(team=a_team())
    for each in (mine, mate, other):
        assert each.ask().status_code == 200
        entries_of(each.apikey, 1)
    keys = {each: each.apikey.masked for each in (mine, mate, other)}
    with enter(by_key(mine.secret)) as socket:
        assert used_by(socket) == {keys[mine]}
    with enter(by_account(owner)) as socket:
        assert used_by(socket) == {keys[mine]}
    with enter(by_account(a_lead(team))) as socket:
        assert used_by(socket) == {keys[mine], keys[mate]}
    with enter(by_account(User.objects.create_user("nobody-at-a-socket"))) as socket:
        assert used_by(socket) == set()
    with enter(by_account(a_viewer("usage"))) as socket:
        assert int(heard(socket)["requests"]["exact"]) >= 3


@pytest.mark.parametrize("session", ["", "x" * 32, "'; drop"])
def test_strangers_are_told_nothing(enter, session):
    with enter(session) as socket:
        assert closed(socket) == 4401


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another site"),
        pytest.param({"Origin": ""}, id="no origin"),
        pytest.param({"Origin": "null"}, id="a page of no site"),
        pytest.param({"Origin": "http://127.0.0.1:1"}, id="another port"),
        pytest.param({"Origin": "http://evil.example", "Host": "evil.example"}, id="another host"),
    ],
)
def test_pages_of_other_sites_are_refused(enter, developer, headers):
    with pytest.raises(InvalidStatus), enter(by_key(developer.secret), **headers):
        pass


@pytest.mark.parametrize("end", [apikey_revoke, apikey_disable])
def test_it_ends_with_the_key(enter, developer, end):
    with enter(by_key(developer.secret)) as socket:
        heard(socket)
        end(apikey=developer.apikey, acting_user=None)
        assert closed(socket) == 4401


def test_it_ends_with_the_sign_out(enter):
    client = Client()
    client.force_login(a_viewer("usage"))
    with enter(client.cookies["sessionid"].value) as socket:
        heard(socket)
        client.post("/usage/sign-out/")
        assert closed(socket) == 4401


def test_who_owes_a_step_of_the_sign_in_is_nobody(enter):
    user, _password = services.operator_add(
        username="owes-a-password", roles=["viewer"], acting_user=None
    )
    with enter(by_account(user)) as socket:
        assert closed(socket) == 4401


def test_it_listens_to_nobody(enter, developer):
    with enter(by_key(developer.secret)) as socket:
        heard(socket)
        socket.send("hello")
        assert closed(socket) == 4400


def test_long_talk_is_cut(enter, developer):
    with enter(by_key(developer.secret)) as socket:
        socket.send("x" * 10_000)
        assert closed(socket) in (1009, 4400)


def test_other_sockets_are_refused(gateway):
    for path in ("/", "/usage/", "/usage/live/more", "/admin/"):
        with pytest.raises(InvalidStatus):
            connect(
                gateway.url.replace("http:", "ws:") + path,
                additional_headers={"Origin": gateway.url},
                proxy=None,
            )


def test_a_secret_of_a_key_is_no_session(enter):
    _apikey, secret = a_key_and_secret()
    with enter(secret.text) as socket:
        assert closed(socket) == 4401
