"""`/metrics` of a gateway of two workers: the sums, who may read, and a real Prometheus on it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from claudcode import env
from claudcode.metrics.exposition import PREFIX, exposed_names
from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.developer import a_question
from tests.acceptance.gateway_process import GatewayProcess, free_port
from tests.waiting import wait_until

TOKEN = "a-token-for-metrics-" + "x" * 20
NEXT_TOKEN = "the-token-after-that-" + "x" * 20
OBSERVABILITY = env.ROOT / "deploy" / "observability"
DASHBOARD = OBSERVABILITY / "grafana-dashboard.json"
RULES = OBSERVABILITY / "claudcode.rules.yml"
EXCHANGES = 6
BUILT_IN = {"up"}


@pytest.fixture(scope="module")
def gateway(installation, simulator):
    settings = IMPATIENT | {"METRICS_TOKEN": f"{NEXT_TOKEN},{TOKEN}"}
    with GatewayProcess(installation, simulator.url, workers=2, **settings) as gateway:
        yield gateway


@pytest.fixture
def scrape(gateway):
    """Return the value of every time series, by name and labels; any worker may answer."""

    def read(**headers: str) -> dict[str, float]:
        bearer = {"authorization": f"Bearer {TOKEN}", "connection": "close"}
        answer = httpx.get(f"{gateway.url}/metrics", headers=bearer | headers, trust_env=False)
        answer.raise_for_status()
        return {
            sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return read


@pytest.fixture
def asked(gateway, a_developer):
    """Exchanges by fresh connections, so that both workers get some."""
    developer = a_developer(rpm=None, concurrency=None, cache_enabled=False)
    for number in range(EXCHANGES):
        question = a_question(f"Hello {number}")
        url = f"{gateway.url}/v1/messages"
        httpx.post(url, json=question, headers=developer.headers, timeout=30, trust_env=False)
    return developer


def total(found: dict[str, float], name: str, part: str = "") -> float:
    return sum(v for series, v in found.items() if series.startswith(name + "{") and part in series)


def test_every_worker_answers_for_all(scrape, a_developer, gateway, asked):
    wait_until(lambda: scrape()[f"{PREFIX}workers{{}}"] == 2, 20)
    counted = f"{PREFIX}exchanges_total"
    before = [total(scrape(), counted, "completed") for _ in range(4)]
    assert before == sorted(before)
    wait_until(lambda: total(scrape(), counted, "completed") >= EXCHANGES)
    seen = [total(scrape(), counted) for _ in range(8)]
    assert len(set(seen)) == 1


def test_what_an_exchange_leaves_behind(scrape, asked):
    found = wait_until(lambda: _with_exchanges(scrape()))
    assert total(found, f"{PREFIX}tokens_total", '"output"') > 0
    assert total(found, f"{PREFIX}cost_nanousd_total") > 0
    assert total(found, f"{PREFIX}gateway_overhead_seconds_count") >= EXCHANGES
    assert total(found, f"{PREFIX}exchange_duration_seconds_count") >= EXCHANGES
    assert total(found, f"{PREFIX}upstream_attempts_total", "answered") >= EXCHANGES
    assert total(found, f"{PREFIX}requests_total", "2xx") >= EXCHANGES
    assert found[f"{PREFIX}postgres_pool_connections{{}}"] >= 1
    assert found[f"{PREFIX}valkey_links{{}}"] >= 1
    assert found[f"{PREFIX}postgres_up{{}}"] == found[f"{PREFIX}valkey_up{{}}"] == 1


def test_no_label_holds_a_key_a_session_or_an_id(gateway, asked):
    bearer = {"authorization": f"Bearer {TOKEN}"}
    page = httpx.get(f"{gateway.url}/metrics", headers=bearer, trust_env=False).text
    names = set(re.findall(r'(\w+)="', page))
    assert names <= {
        *("path", "status", "type", "model", "account", "outcome", "cache", "kind", "tool", "le")
    }
    assert asked.apikey.name not in page
    assert asked.secret not in page


@pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": TOKEN}])
def test_nobody_reads_without_the_token(gateway, sent):
    answer = httpx.get(f"{gateway.url}/metrics", headers=sent, trust_env=False)
    assert (answer.status_code, answer.content) == (401, b"")


def test_both_tokens_are_good_while_one_is_replaced(gateway):
    sent = {"authorization": f"Bearer {NEXT_TOKEN}"}
    assert httpx.get(f"{gateway.url}/metrics", headers=sent, trust_env=False).status_code == 200


def test_an_unknown_path_is_no_series_of_its_own(gateway, scrape):
    httpx.get(f"{gateway.url}/v1/nowhere-in-particular", trust_env=False)
    series = scrape()
    assert not [name for name in series if "nowhere" in name]


def test_the_dashboard_and_the_rules_name_only_what_there_is():
    asked_for = "".join(
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    )
    named = set(re.findall(rf"{PREFIX}\w+", asked_for + _expressions()))
    assert len(named) > 20
    assert named <= set(exposed_names())


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is missing (prometheus)")
def test_promtool_finds_nothing_wrong():
    for check in (["check", "rules", str(RULES)], ["test", "rules", "rules_test.yml"]):
        ran = subprocess.run(
            ["promtool", *check], cwd=OBSERVABILITY, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def prometheus(gateway, tmp_path):
    """A Prometheus that scrapes the gateway with the shipped rules; its address."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("prometheus is missing")
    given = (OBSERVABILITY / "prometheus.yml").read_text()
    given = re.sub(r"targets: .*", f'targets: ["127.0.0.1:{gateway.port}"]', given)
    given = given.replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")
    (tmp_path / "prometheus.yml").write_text(given)
    (tmp_path / "metrics_token").write_text(TOKEN)
    shutil.copy(RULES, tmp_path)
    checked = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    port = free_port()
    command = ["prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def test_a_real_prometheus_scrapes_it_and_answers_every_expression(prometheus, asked):
    def query(expression: str) -> list[dict]:
        try:
            answer = httpx.get(
                f"{prometheus}/api/v1/query", params={"query": expression}, trust_env=False
            )
        except httpx.TransportError:
            return []
        assert answer.status_code == 200, (expression, answer.text)
        return answer.json()["data"]["result"]

    def counted() -> float:
        found = query(f"sum({PREFIX}exchanges_total)")
        return float(found[0]["value"][1]) if found else 0

    wait_until(lambda: counted() >= EXCHANGES, 40, every_s=0.2)
    assert [one["value"][1] for one in query('up{job="claudcode"}')] == ["1"]
    for expression in _dashboard_expressions():
        query(expression)
    rules = httpx.get(f"{prometheus}/api/v1/rules", trust_env=False).json()["data"]["groups"][0]
    assert not [rule["name"] for rule in rules["rules"] if rule["health"] == "err"]


def _dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    named = [target["expr"] for panel in panels for target in panel["targets"]]
    return [e.replace("$__rate_interval", "1m").replace("$instance", ".*") for e in named]


def _expressions() -> str:
    return Path(RULES).read_text()


def _with_exchanges(found: dict[str, float]) -> dict[str, float] | None:
    enough = total(found, f"{PREFIX}exchanges_total", "completed") >= EXCHANGES
    return found if enough else None
