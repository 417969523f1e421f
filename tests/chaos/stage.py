"""A whole installation for a while: engines, simulator, two gateways, Celery's worker and beat.

As `manage.py up` starts it, but each gateway is a process of its own that can be reached, and
everything can be killed. Exchanges go to three upstream accounts: one is overloaded all the time,
one takes every request and breaks off. Django in this process is pointed at the stores, so
`django.setup()` must not have run before.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import redis
from cryptography.fernet import Fernet

from claudcode.engines import pair, postgres
from claudcode.engines.state import StateFolder
from tests.acceptance.simulator_process import SimulatorProcess
from tests.chaos.programs import Engine, Program, answers, free_port

GATEWAYS = 2
# A million requests of 0.9 KB would be too much for a small machine; a long run has less.
BOOKS_MAX = 500_000
# By name, what each does with every request.
ACCOUNTS = {
    "healthy": (),
    "overloaded": ("--mark", "status=529"),
    "cutting": ("--mark", "cut after=0"),
}
REVIVE_EVERY_S = 0.5
WORKER_WORDS = "--pool threads --concurrency 4 --without-gossip --without-mingle"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs. `gateways` listen on `urls`, in the same order."""

    state: Path
    postgres: Engine
    valkey: Engine
    simulators: Mapping[str, SimulatorProcess]
    gateways: tuple[Program, ...]
    urls: tuple[str, ...]
    worker: Program
    beat: Program

    @property
    def programs(self) -> tuple[Program, ...]:
        """Everything of ours that can be killed."""
        return (*self.gateways, self.worker, self.beat)

    @property
    def processes(self) -> dict[str, int]:
        """The process ids of everything, by name."""
        named = {program.name: program.pid for program in self.programs}
        engines = {engine.name: engine.pid for engine in (self.postgres, self.valkey)}
        simulators = {f"simulator {name}": s.pid for name, s in self.simulators.items()}
        return named | engines | simulators

    def served(self) -> list[dict[str, Any]]:
        """Return what every upstream account has in its books, each entry with its `account`."""
        return [
            entry | {"account": name}
            for name, simulator in self.simulators.items()
            for entry in simulator.entries()
        ]

    def store(self) -> redis.Redis:
        """A client of Valkey, for the caller to close."""
        return redis.Redis.from_url(os.environ["VALKEY_URL"], socket_timeout=5)


@contextlib.contextmanager
def installation(*, books_max: int = BOOKS_MAX, **settings: str) -> Iterator[Stage]:
    """Run everything for as long as the block; settings are `CLAUDCODE_<NAME>`."""
    folder = Path(tempfile.mkdtemp(prefix="claudcode-chaos-", dir="/tmp"))
    try:
        state = StateFolder(folder)
        with (
            state.lock() or contextlib.nullcontext(),
            pair.running(state, with_postgres=True, with_valkey=True) as engines,
            _simulators(books_max) as simulators,
        ):
            assert engines.postgres is not None
            assert engines.valkey is not None
            export(engines.postgres.url, engines.valkey.url, folder, settings)
            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            _add_accounts(simulators)
            data = postgres.data_folder(folder / "postgres")
            stage = _stage(
                folder,
                Engine("postgres", engines.postgres, data),
                Engine("valkey", engines.valkey, folder / "valkey"),
                simulators,
            )
            with _started(stage):
                yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _simulators(books_max: int) -> Iterator[dict[str, SimulatorProcess]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(SimulatorProcess("--books-max", str(books_max), *words))
            for name, words in ACCOUNTS.items()
        }


def _add_accounts(simulators: Mapping[str, SimulatorProcess]) -> None:
    # It needs Django.
    from proxy.services import upstream_add

    for name, simulator in simulators.items():
        upstream_add(
            name=name, base_url=simulator.url, credential="of-the-gateway", acting_user=None
        )


def export(database_url: str, valkey_url: str, state: Path, settings: Mapping[str, str]) -> None:
    """Set the environment of this process and its programs; settings are `CLAUDCODE_<NAME>`."""
    os.environ.update(
        {
            "CLAUDCODE_ENV_FILE": os.devnull,
            "CLAUDCODE_SECRET_KEY": "only-for-tests-" + "x" * 50,
            "CLAUDCODE_CREDENTIAL_KEYS": Fernet.generate_key().decode(),
            "CLAUDCODE_STATE": str(state),
            "CLAUDCODE_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "claudcode.settings",
            "DATABASE_URL": database_url,
            "VALKEY_URL": valkey_url,
            "PYTHONUNBUFFERED": "1",
        }
        | {f"CLAUDCODE_{name}": value for name, value in settings.items()}
    )


def _stage(
    folder: Path,
    database: Engine,
    store: Engine,
    simulators: Mapping[str, SimulatorProcess],
) -> Stage:
    def program(name: str, words: str, url: str = "") -> Program:
        return Program(
            name,
            [sys.executable, "-m", *words.split()],
            environment=os.environ,
            log=folder / "logs" / f"{name.replace(' ', '-')}.log",
            ready=(lambda: answers(f"{url}/healthz")) if url else lambda: True,
        )

    ports = [free_port() for _ in range(GATEWAYS)]
    urls = tuple(f"http://127.0.0.1:{port}" for port in ports)
    return Stage(
        state=folder,
        postgres=database,
        valkey=store,
        simulators=simulators,
        gateways=tuple(
            program(f"gateway {number}", f"claudcode.server --port {port} --shutdown 2", url)
            for number, (port, url) in enumerate(zip(ports, urls, strict=True))
        ),
        urls=urls,
        worker=program("worker", f"celery -A claudcode -q worker {WORKER_WORDS}"),
        beat=program(
            "beat",
            f"celery -A claudcode -q beat --schedule {folder}/celerybeat-schedule --pidfile=",
        ),
    )


def _revive(stage: Stage, over: threading.Event) -> None:
    while not over.wait(REVIVE_EVERY_S):
        for program in stage.programs:
            program.revive()


@contextlib.contextmanager
def _started(stage: Stage) -> Iterator[None]:
    over = threading.Event()
    try:
        for program in stage.programs:
            program.launch()
        for program in stage.programs:
            program.wait_until_ready()
        threading.Thread(target=_revive, args=(stage, over), daemon=True).start()
        yield
    finally:
        over.set()
        for program in stage.programs:
            program.end()
