"""Every admitted exchange in the ledger exactly once, and exactly what upstream's books say."""

import os
import subprocess
import sys

import pytest

from tests.acceptance.developer import a_name, a_question
from tests.acceptance.gateway_process import ROOT
from tests.acceptance.installation import ledger_entry, only_entry
from tests.factories import a_team
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry

CACHED = {"type": "text", "text": "word " * 5000, "cache_control": {"type": "ephemeral"}}
HOUR = {"type": "text", "text": "long " * 5000}
HOUR["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
# Nano-dollars a token, as Anthropic's list has them for haiku 4.5.
RATES = {
    "input_tokens": 1000,
    "output_tokens": 5000,
    "cache_creation_input_tokens": 1250,
    "cache_read_input_tokens": 100,
}
WEB_SEARCH = 10_000_000


@pytest.fixture
def ask_and_look(a_developer, simulator):
    """Asks, and returns our row and upstream's entry."""

    def ask(**question):
        developer, name = a_developer(rpm=None), a_name()
        question = a_question(**question)
        headers = {"x-exchange-id": name}
        answer = developer.post("/v1/messages", json=question, headers=headers)
        book = simulator.wait_for_entry(lambda e: e["headers"].get("x-exchange-id") == name)
        return ledger_entry(answer.headers["request-id"]), book

    return ask


QUESTIONS = [
    pytest.param({"prompt": "[[sim:tokens=70]]"}, id="text"),
    pytest.param({"prompt": "[[sim:thinking=50]]"}, id="thinking"),
    pytest.param({"prompt": "[[sim:tokens=500]]", "max_tokens": 40}, id="cut at max_tokens"),
    pytest.param({"prompt": "[[sim:refusal]]"}, id="a refusal"),
    pytest.param({"prompt": "Cache this.", "system": [CACHED]}, id="a cache written or read"),
    pytest.param({"prompt": "Cache that.", "system": [CACHED]}, id="a cache read"),
    pytest.param({"prompt": "[[sim:web-search=2]]"}, id="searches"),
    pytest.param({"prompt": "[[sim:deltas=3]]"}, id="several reports of usage"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_row_has_the_counts_and_the_cost_of_upstreams_books(ask_and_look, question, streamed):
    row, book = ask_and_look(**question, stream=streamed)
    usage = book["usage"]
    searches = usage.get("server_tool_use", {}).get("web_search_requests", 0)
    assert {name: getattr(row, name) for name in RATES} == {name: usage[name] for name in RATES}
    assert row.web_search_requests == searches
    assert row.cost_nanousd == searches * WEB_SEARCH + sum(
        usage[name] * rate for name, rate in RATES.items()
    )
    full = usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["output_tokens"]
    assert row.charged_tokens == full + -(-usage["cache_read_input_tokens"] // 10)
    assert (row.status, row.estimated, row.streamed) == ("completed", False, streamed)


def test_an_hour_of_cache_has_its_own_price(ask_and_look):
    row, book = ask_and_look(system=[HOUR])
    written = book["usage"]["cache_creation_input_tokens"]
    assert row.cache_creation_1h_input_tokens == row.cache_creation_input_tokens == written > 4096
    assert row.cost_nanousd == 2000 * written + 1000 * row.input_tokens + 5000 * row.output_tokens


def test_a_row_says_who_asked_what_and_how_it_went(a_developer, simulator):
    team = a_team()
    developer = a_developer(team=team)
    headers = {
        "user-agent": "claude-cli/2.1.330 (external, cli)",
        "x-claude-code-session-id": "0f1e2d3c",
        "x-claude-code-agent-id": "agent-1",
        "x-claude-code-parent-agent-id": "agent-0",
    }
    question = a_question("[[sim:tokens=20]] [[sim:slow seconds=0.2]]", stream=True)
    question["model"] = "claude-haiku-4-5-20251001"
    answer = developer.post("/v1/messages", json=question, headers=headers)
    row = ledger_entry(answer.headers["request-id"])
    assert (row.apikey_id, row.team_id) == (developer.apikey.pk, team.pk)
    assert (row.model_requested, row.model_answered) == (question["model"], question["model"])
    assert (row.session_id, row.agent_id, row.parent_agent_id) == ("0f1e2d3c", "agent-1", "agent-0")
    assert (row.client_agent, row.client_address) == (headers["user-agent"], "127.0.0.1")
    assert (row.status, row.http_status, row.error_type) == ("completed", 200, "")
    assert 200 <= row.first_byte_ms <= row.total_ms < 3000
    simulator.wait_for_entry(lambda e: e["request_id"] == row.upstream_request_id)
    assert row.upstream == "default"


@pytest.mark.parametrize(
    ("mark", "http_status", "error_type"),
    [
        pytest.param("status=400", 400, "request", id="upstream refused the request"),
        pytest.param("status=529", 529, "overloaded_error", id="upstream is overloaded"),
        pytest.param("status=500", 500, "api_error", id="upstream failed"),
        pytest.param("cut after=0", 0, "api_error", id="upstream closed the connection"),
    ],
)
def test_an_error_of_upstreams_costs_nothing_and_is_on_record(
    a_developer, mark, http_status, error_type
):
    developer = a_developer()
    developer.ask(f"[[sim:{mark}]]")
    row = only_entry(developer.apikey)
    assert (row.status, row.http_status) == ("upstream_error", http_status)
    assert row.error_type == error_type
    assert (row.charged_tokens, row.cost_nanousd) == (0, 0)


def test_what_was_not_admitted_is_in_no_ledger(a_developer):
    developer = a_developer(rpm=1)
    developer.post("/v1/messages", content=b"?")
    developer.ask(model="claude-nobody-1")
    developer.post("/v1/messages/count_tokens", json=a_question())
    developer.get("/v1/models")
    answered = [developer.ask().status_code for _call in range(3)]
    only_entry(developer.apikey)
    ledger.drain()
    assert answered == [200, 429, 429]
    assert LedgerEntry.objects.filter(apikey=developer.apikey).count() == 1


def test_celery_writes_the_ledger_by_itself(installation, a_developer, tmp_path):
    environment = os.environ | {
        "DATABASE_URL": installation.database_url,
        "VALKEY_URL": installation.valkey_url,
    }
    schedule = ["--schedule", str(tmp_path / "schedule"), "--pidfile="]
    programs = [["worker", "--pool", "threads", "--concurrency", "1"], ["beat", *schedule]]
    celery = [sys.executable, "-m", "celery", "-A", "claudcode", "-q"]
    processes = [
        subprocess.Popen([*celery, *program], cwd=ROOT, env=environment) for program in programs
    ]
    try:
        developer = a_developer()
        developer.ask()
        mine = LedgerEntry.objects.filter(apikey=developer.apikey)
        wait_until(mine.exists, seconds=30)
        # A worker writes unasked too; beat takes signals from when its schedule is there.
        wait_until(lambda: any(tmp_path.glob("schedule*")), seconds=30)
    finally:
        for process in processes:
            process.terminate()
        assert [process.wait(10) for process in processes] == [0, 0]
