"""The published documentation, held to its word: its samples run, its answers are the answers.

Samples are taken out of docs/contract/claudcode-documentation.txt as they stand there; only the
host and the key are replaced.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from claudcode import env
from keys.models import ApiKey
from keys.services import maintenance_set
from tests.acceptance.clients.sdk import bare_environment
from tests.acceptance.developer import a_question
from tests.factories import a_spec
from tests.waiting import wait_until

DOCUMENTATION = env.ROOT / "docs/contract/claudcode-documentation.txt"
SECTIONS = [
    "Overview",
    "Authentication",
    "SDK Setup",
    "MCP — Web Search & Tools",
    "Budgets & Limits",
    "Rate Limiting",
    "Error Codes",
    "Prompt Caching",
]
HOST, KEY = "https://api.claudcode.top", "sk-cc-xxxxxxxxxxxx"

CURL = r"^curl (?:.*\\\n)*.*$"
PYTHON = r"^import anthropic\n(?:.*\n)*?print\(.*\)$"
TYPESCRIPT = r"^import Anthropic .*\n(?:.*\n)*?console\.log\(.*\);$"
JSON = r"^\{\n(?:.*\n)*?\}$"
HTTP = r"^HTTP/1\.1 .*\n(?:[\w-]+: .*\n?)+"
ROW = r"^(\d{3})[A-Z]"


def section(title: str) -> str:
    """Return the lines under a title. The last of a list may be the next title, bullet and all."""
    lines = [line.removeprefix("    ") for line in DOCUMENTATION.read_text().splitlines()]
    titles = [line.strip(" •") for line in lines]
    later = SECTIONS[SECTIONS.index(title) + 1 :]
    end = titles.index(later[0]) if later else len(lines)
    return "\n".join(lines[titles.index(title) + 1 : end])


def samples(title: str, pattern: str) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, section(title), re.MULTILINE)]
    assert found, f"{title} has no such sample"
    return found


def run(sample: str, command: list[str], developer, home: Path, folder: Path, **more: str) -> str:
    """Run a sample with host and key replaced; return what it prints."""
    assert HOST in sample
    assert KEY in sample
    ready = sample.replace(HOST, developer.base_url).replace(KEY, developer.secret)
    done = subprocess.run(
        [*command, ready],
        env=bare_environment(home) | more,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def conforms(actual: object, documented: object) -> bool:
    """Whether every documented field is there with the documented type."""
    if isinstance(documented, dict):
        return isinstance(actual, dict) and all(
            name in actual and conforms(actual[name], value) for name, value in documented.items()
        )
    return type(actual) is type(documented)


# --- Authentication, SDK Setup ----------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1], ids=["x-api-key", "bearer"])
def test_the_curl_samples_answer(developer, tmp_path, number):
    sample = samples("Authentication", CURL)[number]
    answer = json.loads(run(sample, ["bash", "-c"], developer, tmp_path, tmp_path))
    assert (answer["type"], answer["model"]) == ("message", "claude-sonnet-4-6")
    assert "Hello!" in answer["content"][0]["text"]


@pytest.mark.parametrize("fixture", ["today_python", "old_python"])
def test_the_python_sample_answers(request, developer, tmp_path, fixture):
    (sample,) = samples("SDK Setup", PYTHON)
    sdk = request.getfixturevalue(fixture)
    printed = run(sample, [sys.executable, "-c"], developer, tmp_path, tmp_path, **sdk.environment)
    assert "Write a haiku about coding" in printed


@pytest.mark.node
def test_the_typescript_sample_answers(node, node_folder, developer, tmp_path):
    (sample,) = samples("SDK Setup", TYPESCRIPT)
    command = [node, "--input-type=module", "-e"]
    printed = run(sample, command, developer, tmp_path, node_folder)
    assert "Write a haiku about coding" in printed


def test_the_supported_models_answer(developer):
    supported = re.findall(r"claude-[a-z]+-[0-9-]+", section("Overview"))
    assert len(supported) == 3
    assert {developer.ask(model=model).status_code for model in supported} == {200}


# --- Budgets & Limits --------------------------------------------------------------------------


def test_the_key_status_sample_answers_as_documented(a_developer, tmp_path):
    developer = a_developer()
    (curl,), (documented,) = samples("Budgets & Limits", CURL), samples("Budgets & Limits", JSON)
    usage = developer.ask().json()["usage"]
    used = usage["input_tokens"] + usage["output_tokens"]
    wait_until(lambda: developer.status()["rate_limit"]["in_flight"] == 0)
    status = json.loads(run(curl, ["bash", "-c"], developer, tmp_path, tmp_path))
    budget, expected = status["budget"], json.loads(documented)
    assert conforms(status, expected)
    assert status["key"] == "sk-cc-..." + developer.secret[-4:]
    assert status["status"] == expected["status"]
    assert budget["total_tokens"] == expected["budget"]["total_tokens"]
    assert budget["used_tokens"] == used > 0
    assert budget["remaining_tokens"] == budget["total_tokens"] - used
    assert budget["window"] == expected["budget"]["window"]
    assert re.fullmatch(r"5h( 1m)?|4h 59m", budget["resets_in"])
    assert {name: status["rate_limit"][name] for name in ("rpm", "concurrent")} == expected[
        "rate_limit"
    ]


# --- Rate Limiting -----------------------------------------------------------------------------


def test_too_many_requests_are_answered_as_documented(a_developer):
    (documented,) = samples("Rate Limiting", HTTP)
    status, *lines = documented.splitlines()
    headers = dict(line.split(": ") for line in lines)
    developer = a_developer()
    answers = [developer.ask() for _ in range(61)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert f"{refused.http_version} {refused.status_code} {refused.reason_phrase}" == status
    assert all(name in refused.headers for name in headers)
    assert refused.headers["x-ratelimit-limit"] == headers["X-RateLimit-Limit"]
    assert refused.headers["x-ratelimit-remaining"] == headers["X-RateLimit-Remaining"]
    assert len(refused.headers["x-ratelimit-reset"]) == len(headers["X-RateLimit-Reset"])
    assert 0 < int(refused.headers["retry-after"]) <= 61


# --- Error Codes -------------------------------------------------------------------------------


def test_a_spent_budget_is_told_as_documented(a_developer):
    (documented,) = samples("Error Codes", JSON)
    developer = a_developer(budgets=[a_spec(window_s=5 * 3600, limit=1)])
    developer.ask()
    told, expected = developer.ask().json(), json.loads(documented)
    assert conforms(told, expected)
    assert told["error"]["type"] == expected["error"]["type"]
    wording = re.escape(expected["error"]["message"]).replace(r"2h\ 15m", r"\d+h( \d+m)?")
    assert re.match(wording, told["error"]["message"])


def bad_request(a_developer) -> httpx.Response:
    return a_developer().post("/v1/messages", content=b"{")


def unauthorized(a_developer) -> httpx.Response:
    return a_developer().post("/v1/messages", json=a_question(), headers={"x-api-key": "sk-cc-no"})


def forbidden(a_developer) -> httpx.Response:
    return a_developer(models=["claude-haiku-4-5"]).ask(model="claude-opus-4-6")


def rate_limited(a_developer) -> httpx.Response:
    return a_developer(rpm=0).ask()


def server_error(a_developer) -> httpx.Response:
    developer = a_developer()
    # Past every check, straight into the database, as a slip of an operator could.
    ApiKey.objects.filter(pk=developer.apikey.pk).update(cidrs=["not an address"])
    return developer.ask()


def upstream_error(a_developer) -> httpx.Response:
    return a_developer().ask("[[sim:status=500]]")


def service_unavailable(a_developer) -> httpx.Response:
    developer = a_developer(rpm=None)
    maintenance_set(enabled=True, acting_user=None)
    return wait_until(lambda: answer if (answer := developer.ask()).status_code != 200 else None)


PROVOKED: dict[int, Callable[..., httpx.Response]] = {
    400: bad_request,
    401: unauthorized,
    403: forbidden,
    429: rate_limited,
    500: server_error,
    502: upstream_error,
    503: service_unavailable,
}


@pytest.fixture
def no_maintenance(a_developer) -> Iterator[None]:
    """Have the gateway open again after the test."""
    yield
    maintenance_set(enabled=False, acting_user=None)
    wait_until(lambda: a_developer().ask().status_code == 200)


def test_every_documented_status_is_provoked_here():
    codes = re.findall(ROW, section("Error Codes"), re.MULTILINE)
    assert {int(code) for code in codes} == PROVOKED.keys()


@pytest.mark.parametrize("code", PROVOKED)
def test_a_documented_status_comes_with_the_documented_body(a_developer, no_maintenance, code):
    (documented,) = samples("Error Codes", JSON)
    answer = PROVOKED[code](a_developer)
    assert answer.status_code == code
    assert conforms(answer.json(), json.loads(documented))
