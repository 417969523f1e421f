import socket
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from proxy.core.account import Account
from proxy.probe import PAGES_MAX, known, probe, probe_all
from tests import models_server

SECRET = "sk-ant-api03-this-is-a-secret-AbCd"


@pytest.fixture
def server():
    with models_server.serving() as running:
        yield running


def an_account(url: str, name: bytes = b"x-api-key", prefix: str = "") -> Account:
    headers = ((name, (prefix + SECRET).encode()),)
    return Account(1, "first", url, headers, 10, 1, None, None, (), "f")


def test_a_good_account_says_how_many_models_it_has(server):
    server.answer = lambda *_: models_server.models("claude-a", "claude-b")
    found = probe(an_account(server.url))
    assert (found.status, found.trouble) == (200, "")
    assert str(found) == f"It answers: HTTP 200 in {found.milliseconds} ms, 2 models."
    assert found.milliseconds > 0


@pytest.mark.parametrize(
    ("name", "prefix"), [(b"x-api-key", ""), (b"authorization", "Bearer ")], ids=["key", "bearer"]
)
def test_the_call_carries_the_credential_and_a_version(server, name, prefix):
    probe(an_account(server.url, name, prefix))
    ((path, headers),) = server.asked
    assert urlsplit(path).path == "/v1/models"
    assert headers[name.decode()] == prefix + SECRET
    assert headers["anthropic-version"] == "2023-06-01"


def test_the_path_of_the_address_is_kept(server):
    probe(an_account(f"{server.url}/anthropic"))
    assert server.asked[0][0].startswith("/anthropic/v1/models?")


def test_all_pages_are_read(server):
    def answer(path: str, _headers: dict[str, str]) -> models_server.Answer:
        after = parse_qs(urlsplit(path).query).get("after_id", [""])[0]
        if after:
            return models_server.models("c")
        return models_server.models("a", "b", has_more=True, last_id="b")

    server.answer = answer
    assert [model.id for model in probe(an_account(server.url)).models] == ["a", "b", "c"]


def test_a_list_without_end_is_given_up(server):
    server.answer = lambda *_: models_server.models("a", has_more=True, last_id="a")
    assert "has no end" in probe(an_account(server.url)).trouble
    assert len(server.asked) == PAGES_MAX


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (models_server.error(401, "invalid x-api-key"), "The credential is refused. It says: inv"),
        (models_server.error(403, "no"), "HTTP 403."),
        (models_server.error(404, "Not found"), "There is no models list at this address."),
        (models_server.error(529, "Overloaded"), "HTTP 529. It says: Overloaded"),
        ((500, {}, b"<html>"), "HTTP 500."),
        ((200, {}, b"<html>"), "not with a models list: it is not JSON"),
        ((200, {}, b"x" * (9 * 1024 * 1024)), "too long"),
    ],
    ids=["401", "403", "404", "529", "500", "a page for people", "far too much"],
)
def test_trouble_is_said_in_words(server, answer, words):
    server.answer = lambda *_: answer
    found = probe(an_account(server.url))
    assert words in found.trouble
    assert found.status == answer[0]


def test_a_redirect_is_told_and_not_followed(server):
    with models_server.serving() as other:
        server.answer = lambda *_: (307, {"location": f"{other.url}/v1/models"}, b"")
        found = probe(an_account(server.url))
        assert f"HTTP 307: it redirects to {other.url}" in found.trouble
        assert other.asked == []


def test_a_credential_that_upstream_repeats_is_struck_out(server):
    server.answer = lambda *_: models_server.error(401, f"{SECRET} is not valid")
    found = probe(an_account(server.url, b"authorization", "Bearer "))
    assert "It says: … is not valid" in found.trouble


def test_nobody_at_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = probe(an_account(f"http://127.0.0.1:{port}"))
    assert found.status == 0
    assert found.trouble == "It cannot be reached: Connection refused."


def test_a_name_that_leads_nowhere():
    found = probe(an_account("http://upstream.invalid"))
    assert found.trouble == "It cannot be reached: no such name."


def test_a_server_that_speaks_no_tls(server):
    found = probe(an_account(server.url.replace("http:", "https:")))
    assert "It cannot be reached: [SSL" in found.trouble


def test_the_wait_is_bounded():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = probe(an_account(url), seconds_max=0.3)
    assert found.trouble == "It did not answer within 0.3 s."


def test_an_answer_that_breaks_off_is_told_from_none(server):
    server.answer = lambda *_: (200, {"content-length": "10"}, b"{")
    assert "It broke off" in probe(an_account(server.url)).trouble


def test_accounts_are_asked_at_once(server):
    together = threading.Barrier(4, timeout=8)
    server.answer = lambda *_: (together.wait(), models_server.models("a"))[1]
    found = probe_all([an_account(server.url)] * 4)
    assert [result.trouble for result in found] == [""] * 4


def test_an_id_that_is_not_listed_may_be_known_all_the_same(server):
    server.answer = lambda path, _: (
        (200, {}, b"{}") if path.endswith("/claude-a") else models_server.error(404, "no")
    )
    assert known(an_account(server.url), ["claude-a", "claude-b"]) == {"claude-a"}
