"""Addresses of clients: whole for rules, as little as the operator wants in what is stored."""

import json

import pytest

from tests.acceptance.developer import Developer, a_question
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import entries_of, ledger_entry
from tests.factories import a_key_and_secret

CLIENT, NEIGHBOUR, NETWORK = "203.0.113.77", "203.0.113.78", "203.0.113.0"


@pytest.fixture(scope="module")
def truncating(installation, gateway_settings):
    told = {"CLIENT_ADDRESSES": "truncated", "TRUSTED_PROXIES": "127.0.0.0/8"}
    with GatewayProcess(installation, "http://127.0.0.1:9", **(gateway_settings | told)) as gateway:
        yield gateway


@pytest.fixture
def developer(truncating, http):
    """Somebody whose key is good for one address alone."""
    return Developer(http, truncating.url, *a_key_and_secret(cidrs=[f"{CLIENT}/32"]))


def ask_from(developer, address, prompt="Hello", **headers):
    sent = {"x-forwarded-for": address} | headers
    return developer.post("/v1/messages", json=a_question(prompt), headers=sent)


def test_rules_go_by_the_whole_address_and_the_ledger_has_the_network(developer, truncating):
    answer = ask_from(developer, CLIENT)
    assert (answer.status_code, ask_from(developer, NEIGHBOUR).status_code) == (200, 401)
    assert ledger_entry(answer.headers["request-id"]).client_address == NETWORK
    assert CLIENT not in truncating.log()


def test_web_tools_keep_as_little(developer):
    wanted = json.dumps({"query": "owls"})
    prompt = f"[[sim:tool=web_search input='{wanted}']] Owls?"
    answer = ask_from(developer, CLIENT, prompt, **{"x-claudcode-tools": "web"})
    assert answer.status_code == 200, answer.text
    rounds_and_tool = entries_of(developer.apikey, 3)
    assert [entry.client_address for entry in rounds_and_tool] == [NETWORK] * 3
