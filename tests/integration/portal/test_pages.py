"""What is served, to whom, under which name, and what of it is live."""

import re

import pytest
from django.test import Client

from keys.models import ClaudeModel
from keys.services import claude_model_update
from portal import live, stores
from portal.library import KEY, pages
from portal.status import status
from tests.factories import a_key_and_secret, a_model, a_stranger, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

PATHS = [
    *(page.path for page in pages()),
    *(f"/docs/{page.slug}.md" for page in pages()),
    "/docs/search.json",
    "/llms.txt",
    "/llms-full.txt",
    "/openapi.json",
    "/openapi.yaml",
    "/try",
    "/status",
    "/status.json",
]


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing is remembered from another test."""
    for remembered in (live.catalogue, status, stores.postgres_answers, stores.valkey_answers):
        remembered.forget()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_there_for_anyone_and_kept_for_nobody_else(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "private, no-cache"
    assert {name.strip() for name in answer["Vary"].split(",")} >= {"Host", "Cookie"}
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in f"{policy};"
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PATHS)
def test_it_is_read_not_written(client, path):
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_host_is_refused_and_never_repeated(client, path):
    answer = client.get(path, headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert b"evil.example" not in answer.content


@pytest.mark.parametrize("path", PATHS)
def test_a_forwarded_host_of_a_stranger_is_not_repeated(client, path):
    answer = client.get(path, headers={"x-forwarded-host": "evil.example"})
    assert answer.status_code == 200
    assert b"evil.example" not in b"".join(answer)


def test_the_address_is_the_one_that_was_asked(client, settings):
    settings.ALLOWED_HOSTS = ["one.example", "two.example"]
    for host in settings.ALLOWED_HOSTS:
        text = client.get("/docs/sdk-setup.md", headers={"host": host}).content.decode()
        assert f'base_url="http://{host}"' in text


def test_the_public_address_wins(client, settings):
    settings.PUBLIC_URL = "https://claude.example.com/"
    text = client.get("/docs/sdk-setup.md").content.decode()
    assert 'base_url="https://claude.example.com"' in text
    assert "testserver" not in text


def test_a_page_that_is_not_there_is_404(client):
    assert client.get("/docs/nothing").status_code == 404
    assert client.get("/docs/nothing.md").status_code == 404


def test_all_pages_in_one(client):
    text = client.get("/llms-full.txt").content.decode()
    assert [page.title for page in pages() if f"# {page.title}\n" not in text] == []
    assert "[[" not in text


def test_the_list_of_pages_leads_to_each(client):
    links = re.findall(r"\(http://testserver(/[^)]+)\)", client.get("/llms.txt").content.decode())
    assert len(links) == len(pages()) + 2
    assert [link for link in links if client.get(link).status_code != 200] == []


def test_no_place_is_left_unfilled(client):
    for page in pages():
        body = re.sub(r"<[^>]+>", "", client.get(page.path).content.decode())
        assert "[[" not in body, page.slug
        assert "gateway.invalid" not in body, page.slug
        assert "GATEWAYADDRESS" not in body, page.slug
    found = client.get("/docs/search.json").content.decode()
    assert "gateway.invalid" not in found
    assert "GATEWAYADDRESS" not in found
    assert KEY in client.get("/").content.decode()


# --- Live figures -------------------------------------------------------------------------------


def test_models_are_those_on_offer(client):
    a_model(model_id="claude-new-1")
    assert b"claude-new-1" in client.get("/").content
    model = ClaudeModel.objects.get(model_id="claude-new-1")
    claude_model_update(claude_model=model, changes={"enabled": False}, acting_user=None)
    live.catalogue.forget()
    assert b"claude-new-1" not in client.get("/").content


def test_lifetimes_are_those_of_the_models(client):
    model = ClaudeModel.objects.get(model_id="claude-haiku-4-5")
    claude_model_update(claude_model=model, changes={"cache_ttl_s": 600}, acting_user=None)
    text = client.get("/docs/prompt-caching.md").content.decode()
    rows = [line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("| from")]
    assert "under 1,000" in text
    assert rows == ["20 m", "40 m", "1 h 20 m", "2 h 40 m"]


def test_limits_are_those_that_are_set(client, settings):
    settings.COUNT_TOKENS_RPM = 1234
    assert b"1,234 a minute" in client.get("/docs/budgets-and-limits").content


def test_the_catalogue_is_read_once_in_a_while(client, django_assert_num_queries):
    client.get("/")
    with django_assert_num_queries(0):
        client.get("/docs/models-and-prices")


def test_a_name_with_a_bar_breaks_no_table(client):
    a_model(model_id="claude-new-1", display_name="<b>Big | new</b>")
    body = client.get("/").content.decode()
    assert "&lt;b&gt;Big | new&lt;/b&gt;" in body


# --- Readers ------------------------------------------------------------------------------------


def test_operators_alone_are_told_names_of_accounts(client):
    from proxy.models import UpstreamAccount

    UpstreamAccount.objects.create(name="secret-account", base_url="https://a.example")
    assert b"secret-account" not in client.get("/status").content
    assert b"secret-account" not in client.get("/status.json").content
    client.force_login(a_stranger())
    assert b"secret-account" not in client.get("/status.json").content
    client.force_login(an_operator())
    assert b"secret-account" in client.get("/status").content
    assert client.get("/status.json").json()["upstreams"][-1]["account"] == "secret-account"


def test_nothing_is_written_for_a_reader(client):
    assert not client.get("/").cookies


def test_the_holder_of_a_key_reads_its_prefix_and_nobody_else_does(client):
    apikey, secret = a_key_and_secret()
    client.post("/usage/sign-in/", {"api_key": secret.text})
    body = client.get("/docs/authentication").content.decode()
    assert f"{apikey.prefix}..." in body
    assert KEY not in body
    assert secret.text not in body
    assert KEY in Client().get("/docs/authentication").content.decode()


def test_a_person_who_sees_every_key_reads_a_placeholder(client):
    a_key_and_secret()
    client.force_login(an_operator())
    assert KEY in client.get("/docs/authentication").content.decode()
