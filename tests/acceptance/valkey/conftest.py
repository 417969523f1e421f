"""A gateway and a worker on a Valkey Cluster of three primaries with a replica each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import IMPATIENT
from tests.acceptance.gateway_process import ROOT, GatewayProcess
from tests.acceptance.installation import Installation, new_database
from tests.acceptance.simulator_process import SimulatorProcess
from tests.valkey_cluster import Cluster, a_cluster

# A failover takes two or three seconds; whoever died holds nothing for long after it.
QUICK = {"LEASE_TTL_S": "6", "LEASE_RENEW_S": "2", "VALKEY_WAIT_REPLICAS": "1"}


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, whole before and after the test."""
    yield running_cluster
    running_cluster.heal()


@pytest.fixture(scope="session")
def shared_installation(
    engines: None, running_cluster: Cluster, django_db_blocker
) -> Iterator[Installation]:
    name = f"claudcode_acceptance_{os.getpid()}_cluster"
    with new_database(os.environ["DATABASE_URL"], name) as database_url:
        installation = Installation(database_url, running_cluster.url)
        with django_db_blocker.unblock(), installation.connected():
            installation.migrate()
        yield installation


@pytest.fixture(scope="session")
def shared_gateway(
    shared_installation: Installation, shared_simulator: SimulatorProcess
) -> Iterator[GatewayProcess]:
    settings = IMPATIENT | QUICK
    with GatewayProcess(shared_installation, shared_simulator.url, **settings) as gateway:
        yield gateway


class Celery:
    """Two workers that compete, and beat, on the queue in the cluster."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._environment = os.environ | {
            "DATABASE_URL": installation.database_url,
            "VALKEY_URL": installation.valkey_url,
        }
        worker = ["worker", "--pool", "threads", "--concurrency", "2"]
        beat = ["beat", "--schedule", str(folder / "schedule"), "--pidfile="]
        programs = {
            "one": [*worker, "-n", "one@%h"],
            "two": [*worker, "-n", "two@%h"],
            "beat": beat,
        }
        self.processes = []
        for name, program in programs.items():
            with (folder / name).open("wb") as log:
                celery = [sys.executable, "-m", "celery", "-A", "claudcode", "-q", *program]
                self.processes.append(
                    subprocess.Popen(
                        celery, cwd=ROOT, env=self._environment, stdout=log, stderr=log
                    )
                )

    def drains(self) -> list[int]:
        """How many drains each worker that answers took from the queue and ran."""
        asked = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "claudcode", "inspect", "stats", "--json"],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            check=False,
        )
        answers = json.loads(asked.stdout) if asked.returncode == 0 else {}
        return [stats["total"].get("usage.tasks.drain", 0) for stats in answers.values()]

    def stop(self) -> list[int]:
        """End all of them; return their exit codes."""
        for process in self.processes:
            process.terminate()
        return [process.wait(20) for process in self.processes]


@pytest.fixture
def celery(installation: Installation, tmp_path) -> Iterator[Celery]:
    running = Celery(installation, tmp_path)
    yield running
    if running.processes[0].returncode is None:
        running.stop()
