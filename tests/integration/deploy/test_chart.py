"""The Helm chart: rendered by Helm itself, and held to Kubernetes' own schemas."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from claudcode import env

DEPLOY = env.ROOT / "deploy"
CHART = DEPLOY / "helm" / "claudcode"
INSTALLED = env.ROOT / ".venv" / "helm" / "program"
VALUES = {
    "default": None,
    "minimal": CHART / "ci" / "minimal.yaml",
    "everything": CHART / "ci" / "everything.yaml",
}
# The oldest that Chart.yaml allows, and one of today.
KUBERNETES_VERSIONS = ("1.25", "1.35")
# Of the Prometheus operator, whose schemas are not Kubernetes' own.
CUSTOM = ("ServiceMonitor", "PrometheusRule")
WITH_PODS = ("Deployment", "Job")
PARTS = ("gateway", "worker", "beat")


@cache
def _helm() -> str | None:
    for program in (str(INSTALLED), shutil.which("helm")):
        if program is None:
            continue
        try:
            subprocess.run([program, "version"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return program
    return None


pytestmark = pytest.mark.skipif(_helm() is None, reason="there is no Helm (make test brings it)")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(_helm()), *arguments], capture_output=True, text=True)


def _template(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run("template", "blue", str(CHART), "--namespace", "claude", *arguments)


@cache
def _rendered(name: str) -> list[dict[str, Any]]:
    values = VALUES[name]
    done = _template(*(["--values", str(values)] if values else []))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _one(values: str, kind: str, name: str) -> dict[str, Any]:
    wanted = (kind, f"blue-claudcode{name}")
    found = [d for d in _rendered(values) if (d["kind"], d["metadata"]["name"]) == wanted]
    assert len(found) == 1, wanted
    return found[0]


def _pods(values: str) -> list[dict[str, Any]]:
    found = [d for d in _rendered(values) if d["kind"] in WITH_PODS]
    return [document["spec"]["template"]["spec"] for document in found]


def _container(values: str, part: str) -> dict[str, Any]:
    document = _one(values, "Deployment", f"-{part}")
    return document["spec"]["template"]["spec"]["containers"][0]


def _environment(values: str, part: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in _container(values, part)["env"]}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_takes_every_object(values: str, version: str):
    for document in _rendered(values):
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_lint_finds_nothing(values: str):
    file = VALUES[values]
    done = _run("lint", str(CHART), "--strict", *(["--values", str(file)] if file else []))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", VALUES)
def test_pods_pass_the_restricted_standard(values: str):
    for pod in _pods(values):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_the_image_and_the_chart_name_the_same_user():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    context = _pods("default")[0]["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in lines


@pytest.mark.parametrize("part", PARTS)
def test_the_commands_are_those_of_the_units(part: str):
    unit = (DEPLOY / "systemd" / f"claudcode-{part}.service").read_text()
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    command = line.removeprefix("ExecStart=/opt/claudcode/.venv/bin/")
    command = command.replace("/var/lib/claudcode", "/tmp").replace("127.0.0.1", "0.0.0.0")
    chart = [str(word) for word in _container("default", part)["command"]]
    assert chart[: len(command.split())] == command.split()


@pytest.mark.parametrize("values", ["default", "everything"])
def test_a_gateway_has_time_for_its_streams(values: str):
    document = _one(values, "Deployment", "-gateway")
    seconds = int(_environment(values, "gateway")["CLAUDCODE_SHUTDOWN_SECONDS_MAX"])
    pause = int(_container(values, "gateway")["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > seconds + pause


def test_a_new_gateway_proves_its_stores_and_an_old_one_outlives_them():
    probes = _container("default", "gateway")
    assert probes["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_workers_can_have_a_new_version_before_gateways():
    done = _template("--set", "image.tag=v2", "--set", "gateway.tag=v1")
    documents = [d for d in yaml.safe_load_all(done.stdout) if d and "spec" in d]
    images = {
        document["metadata"]["name"]: pod["spec"]["containers"][0]["image"]
        for document in documents
        if (pod := document["spec"].get("template")) is not None
    }
    assert images == {
        "blue-claudcode-gateway": "claudcode:v1",
        "blue-claudcode-worker": "claudcode:v2",
        "blue-claudcode-beat": "claudcode:v2",
        "blue-claudcode-migrate": "claudcode:v2",
    }


def test_no_secret_can_be_given_as_a_setting():
    source = (env.ROOT / "claudcode" / "settings.py").read_text()
    secrets = set(re.findall(r'env\.secret\(\s*"([A-Z_]+)"', source))
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = schema["properties"]["settings"]["propertyNames"]["not"]["pattern"]
    assert {name for name in secrets if not re.match(refused, name)} == set()


def test_beat_is_alone():
    spec = _one("everything", "Deployment", "-beat")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_migrations_come_first_with_all_they_need():
    job = _one("everything", "Job", "-migrate")
    secret = _one("everything", "Secret", "-migrate")
    for hook in (job, secret):
        assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    weights = [int(h["metadata"]["annotations"]["helm.sh/hook-weight"]) for h in (secret, job)]
    assert weights[0] < weights[1]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "blue-claudcode-migrate"}}]
    # The release's own is not there yet.
    assert pod["serviceAccountName"] == "default"


def test_secrets_are_yours_unless_given_by_value():
    assert "Secret" not in {document["kind"] for document in _rendered("default")}
    assert _container("default", "gateway")["envFrom"] == [{"secretRef": {"name": "claudcode"}}]
    secret = _one("everything", "Secret", "")
    assert {"DATABASE_URL", "VALKEY_URL"} <= secret["stringData"].keys()


def test_every_pod_is_under_the_policies():
    deny = _one("default", "NetworkPolicy", "-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny.keys()
    for kind in WITH_PODS:
        for document in (d for d in _rendered("default") if d["kind"] == kind):
            labels = document["spec"]["template"]["metadata"]["labels"]
            assert deny["podSelector"]["matchLabels"].items() <= labels.items()
            part = labels["app.kubernetes.io/component"]
            own = _one("default", "NetworkPolicy", f"-{part}")["spec"]
            assert own["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("part", "ports"),
    [
        ("gateway", {53, 443, 5432, 6379}),
        ("worker", {53, 443, 5432, 6379}),
        ("beat", {53, 6379}),
        ("migrate", {53, 5432, 6379}),
    ],
)
def test_only_what_is_needed_goes_out(part: str, ports: set[int]):
    rules = _one("default", "NetworkPolicy", f"-{part}")["spec"]["egress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == ports


@pytest.mark.parametrize("part", ["worker", "beat", "migrate"])
def test_nobody_calls_who_serves_nobody(part: str):
    assert "ingress" not in _one("everything", "NetworkPolicy", f"-{part}")["spec"]


def test_the_ingress_lets_streams_through():
    annotations = _one("everything", "Ingress", "")["metadata"]["annotations"]
    nginx = {name.rpartition("/")[2]: value for name, value in annotations.items()}
    config = (DEPLOY / "nginx.conf").read_text()
    assert nginx["proxy-buffering"] == nginx["proxy-request-buffering"] == "off"
    assert "non_idempotent" not in nginx["proxy-next-upstream"]
    assert f"client_max_body_size {nginx['proxy-body-size']};" in config
    assert int(nginx["proxy-read-timeout"]) == int(nginx["proxy-send-timeout"]) == 15 * 60


def test_settings_arrive_as_they_were_written():
    environment = _environment("everything", "worker")
    assert environment["CLAUDCODE_BODIES_BYTES_MAX"] == "536870912"
    assert environment["CLAUDCODE_UPSTREAM_CONNECT_SECONDS_MAX"] == "2.5"
    assert environment["CLAUDCODE_REQUIRE_2FA"] == "true"
    assert environment["CLAUDCODE_ALLOWED_HOSTS"] == "claude.example.com"
    assert environment["CLAUDCODE_CSRF_TRUSTED_ORIGINS"] == "https://claude.example.com"
    assert set(environment) <= env.REGISTRY.keys()


def test_the_rules_are_the_shipped_ones():
    shipped = yaml.safe_load((DEPLOY / "observability" / "claudcode.rules.yml").read_text())
    assert _one("everything", "PrometheusRule", "")["spec"] == shipped


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(["gateway.replica=3"], id="a value that is none"),
        pytest.param(["worker.replicas=0"], id="no worker"),
        pytest.param(["settings.DATABASE_URL=x"], id="a secret among the settings"),
        pytest.param(["settings.CLAUDCODE_PING_AFTER_S=[]"], id="no scalar"),
        pytest.param(["publicUrl=claude.example.com"], id="an address without scheme"),
        pytest.param(["secrets.existingSecret="], id="no secrets at all"),
        pytest.param(["ingress.enabled=true"], id="an ingress without a host"),
    ],
)
def test_wrong_values_are_refused(wrong: list[str]):
    assert _template("--set-json" if "[]" in wrong[0] else "--set", *wrong).returncode != 0


def test_a_chart_that_is_packed_has_what_the_links_point_at(tmp_path: Path):
    done = _run("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.iterdir()
    shown = subprocess.run(
        ["tar", "-xzOf", archive, "claudcode/files/claudcode.rules.yml"], capture_output=True
    )
    assert shown.stdout == (DEPLOY / "observability" / "claudcode.rules.yml").read_bytes()
