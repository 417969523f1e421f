"""A whole fleet for a while, each part on a host of its own: see `fleet()`.

    front              nginx with deploy/nginx.conf
    gateway1 to 3      `python -m claudcode.server`, as deploy/systemd starts it
    valkey1 to 6       three primaries, three replicas; or one server alone
    postgres1, 2       a primary and its synchronous replica
    worker1, 2         Celery's worker on both, beat on the first
    upstream           the simulator, reached by gateways through the outside network alone
    load               the clients and this process

Django in this process is pointed at the stores, so `django.setup()` must not have run before.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django

from tests.acceptance.simulator_process import SimulatorProcess
from tests.chaos.programs import Program, answers
from tests.chaos.stage import BOOKS_MAX, REVIVE_EVERY_S, WORKER_WORDS, export
from tests.fleet.network import Network, network
from tests.fleet.postgreses import Postgreses, postgreses
from tests.fleet.valkeys import Valkeys, valkeys
from tests.nginx import NGINX, configuration

GATEWAYS = ("gateway1", "gateway2", "gateway3")
WORKERS = ("worker1", "worker2")
PORT = 8000
# Beside 200 streams, on cores that have other work too.
START_S = 180.0
UPSTREAM_PORT = 9000
FRONT_PORT = 80
# What docs/deploy.md tells to set on the proxy's host: a silent peer is given up after half a
# minute.
FRONT_KERNEL = {
    "tcp_keepalive_time": 15,
    "tcp_keepalive_intvl": 5,
    "tcp_keepalive_probes": 3,
    "tcp_retries2": 7,
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs. The gateways are in the order of GATEWAYS."""

    folder: Path
    network: Network
    valkeys: Valkeys
    postgreses: Postgreses
    simulator: SimulatorProcess
    gateways: tuple[Program, ...]
    workers: tuple[Program, ...]
    beat: Program
    front: Program

    @property
    def url(self) -> str:
        """Where clients ask: nginx."""
        return f"http://{self.network.address('front')}:{FRONT_PORT}"

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """Where the gateways themselves listen, on the outside network."""
        return tuple(f"http://{self.network.address(name, 'outside')}:{PORT}" for name in GATEWAYS)

    @property
    def programs(self) -> tuple[Program, ...]:
        """Everything of ours, and nginx."""
        return (*self.gateways, *self.workers, self.beat, self.front)

    def ready(self) -> bool:
        """Return whether all gateways say they are."""
        return all(answers(f"{url}/readyz") for url in self.gateway_urls)


@contextlib.contextmanager
def fleet(*, clustered: bool, **settings: str) -> Iterator[Fleet]:
    """Run everything for as long as the block; settings are `CLAUDCODE_<NAME>`."""
    folder = Path(tempfile.mkdtemp(prefix="claudcode-fleet-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "logs").mkdir()
    try:
        with network() as net:
            net.add("load", "inside", "outside")
            with (
                net.inside("load"),
                valkeys(net, folder, clustered=clustered) as stores,
                postgreses(net, folder) as databases,
            ):
                settings.setdefault("TRUSTED_PROXIES", net.nets["inside"] + ".0/24")
                export(databases.url, stores.url, folder, settings)
                django.setup()
                with _running(folder, net, stores, databases) as made:
                    yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(folder: Path, net: Network, stores: Valkeys, databases: Postgreses) -> Iterator[Fleet]:
    from django.core.management import call_command

    from proxy.services import upstream_add

    made = _fleet(folder, net, stores, databases)
    over = threading.Event()
    upstream = _upstream(folder, net)
    try:
        upstream.start()
        call_command("migrate", verbosity=0)
        upstream_add(
            name="healthy",
            base_url=made.simulator.url,
            credential="of-the-gateway",
            acting_user=None,
        )
        for program in made.programs:
            program.launch()
        for program in made.programs:
            program.wait_until_ready()
        threading.Thread(target=_revive, args=(made, over), daemon=True).start()
        yield made
    finally:
        over.set()
        for program in (*made.programs, upstream):
            program.end()


def _fleet(folder: Path, net: Network, stores: Valkeys, databases: Postgreses) -> Fleet:
    net.add("upstream", "outside")
    net.add("front")
    net.set("front", **FRONT_KERNEL)
    for name in GATEWAYS:
        net.add(name, "inside", "outside")
    for name in WORKERS:
        net.add(name)
    simulator = SimulatorProcess()
    simulator.url = f"http://{net.address('upstream', 'outside')}:{UPSTREAM_PORT}"
    return Fleet(
        folder,
        net,
        stores,
        databases,
        simulator,
        gateways=tuple(_gateway(folder, net, name) for name in GATEWAYS),
        workers=tuple(
            _ours(folder, net, name, name, f"celery -A claudcode -q worker {WORKER_WORDS}")
            for name in WORKERS
        ),
        beat=_ours(
            folder,
            net,
            WORKERS[0],
            "beat",
            f"celery -A claudcode -q beat --schedule {folder}/celerybeat-schedule --pidfile=",
        ),
        front=_front(folder, net),
    )


def _gateway(folder: Path, net: Network, name: str) -> Program:
    url = f"http://{net.address(name)}:{PORT}"
    return _ours(folder, net, name, name, f"claudcode.server --host 0.0.0.0 --port {PORT}", url)


def _upstream(folder: Path, net: Network) -> Program:
    words = f"simulator --host 0.0.0.0 --port {UPSTREAM_PORT} --books-max {BOOKS_MAX}"
    url = f"http://{net.address('upstream', 'outside')}:{UPSTREAM_PORT}/__simulator/books"
    return _ours(folder, net, "upstream", "upstream", words, url, probe="")


def _ours(
    folder: Path,
    net: Network,
    host: str,
    name: str,
    words: str,
    url: str = "",
    probe: str = "/healthz",
) -> Program:
    return Program(
        name,
        net.on(host, [sys.executable, "-m", *words.split()]),
        environment=os.environ,
        log=folder / "logs" / f"{name}.log",
        ready=(lambda: answers(f"{url}{probe}")) if url else lambda: True,
        start_s=START_S,
    )


def _front(folder: Path, net: Network) -> Program:
    place = folder / "logs" / "nginx"
    place.mkdir()
    config = place / "nginx.conf"
    gateways = [f"{net.address(name)}:{PORT}" for name in GATEWAYS]
    config.write_text(configuration(place, f"{net.address('front')}:{FRONT_PORT}", gateways))
    # One process: a worker would outlive a master that is killed at the end.
    words = [NGINX, "-p", str(place), "-c", str(config), "-g", "daemon off; master_process off;"]
    return Program(
        "front",
        net.on("front", words),
        environment={"PATH": "/usr/sbin:/usr/bin"},
        log=folder / "logs" / "front.log",
        ready=lambda: answers(f"http://{net.address('front')}:{FRONT_PORT}/healthz"),
    )


def _revive(made: Fleet, over: threading.Event) -> None:
    while not over.wait(REVIVE_EVERY_S):
        for program in (*made.workers, made.beat):
            program.revive()


def log_sum(made: Fleet, words: str) -> int:
    """Return the sum of the numbers that follow `words` in what gateways logged."""
    found: list[Any] = []
    for gateway in made.gateways:
        for line in gateway.log_lines("ERROR", "WARNING"):
            if words in line:
                found.append(int(line.split(words, 1)[1].split()[0]))
    return sum(found)
