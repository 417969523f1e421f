"""Everything that a run needs, started for it and stopped after it, whatever happens.

    the gateway's core      the gateway, and nginx where there is one
    the other cores         this process, the upstream, Valkey, Postgres, worker and beat

Nothing outside a temporary folder is touched, and no engine that is running already.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import nginx, processes
from bench.processes import Cores
from claudcode import env
from claudcode.engines import pair
from claudcode.engines.state import StateFolder

# Keys by number: the one that most cases use, and two that must be new when their case begins.
FIRST_KEY, EMPTY_KEY, FULL_KEY = 1, 2, 3
KEYS_READY = 4  # The first number that is still free.
ENVIRONMENT = {
    "CLAUDCODE_ENV_FILE": os.devnull,
    "CLAUDCODE_SECRET_KEY": "only-for-the-benchmark-" + "x" * 50,
    "ANTHROPIC_API_KEY": "bench",
    "CLAUDCODE_UPSTREAM_CONNECTIONS_MAX": "8000",
    # The case that counts keys meets thousands of new ones in a few seconds.
    "CLAUDCODE_LOOKUPS_PER_S_MAX": "10000",
    # What it costs to read a key again is measured apart, and stays out of everything else.
    "CLAUDCODE_POLICY_AGE_S_MAX": "3600",
}
# They would lead to somebody's real stores and accounts.
FORGOTTEN = ("DATABASE_URL", "VALKEY_URL", "ANTHROPIC_AUTH_TOKEN", "CLAUDCODE_SUPERVISED")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answers, and the process it was started as."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs. `nginx_port` is `None` where there is no nginx."""

    folder: Path
    cores: Cores
    gateway: Gateway
    upstream_port: int
    upstream_pid: int
    valkey_pid: int
    nginx_port: int | None

    @contextlib.contextmanager
    def another_gateway(
        self, *, workers: int, cores: frozenset[int], settings: Mapping[str, str] | None = None
    ) -> Iterator[Gateway]:
        """Run one more gateway, of `workers` processes, for as long as the block runs."""
        with _gateway(self.folder, cores, workers, settings or {}) as gateway:
            yield gateway

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let worker and beat drain the ledger while the block runs, as they do in earnest."""
        schedule = self.folder / "celerybeat-schedule"
        celery = [sys.executable, "-m", "celery", "-A", "claudcode", "-q"]
        worker = [*celery, "worker", "--pool", "threads", "--concurrency", "4"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        beat = [*celery, "beat", "--schedule", schedule, "--pidfile="]
        with contextlib.ExitStack() as stack:
            for name, command in (("worker", [*worker, *quiet]), ("beat", beat)):
                log = self.folder / f"{name}.log"
                run = processes.running(command, cores=self.cores.others, log=log)
                stack.enter_context(run)
            yield


@contextlib.contextmanager
def built() -> Iterator[Stage]:
    """Start everything but the worker, migrate, and issue the first keys."""
    processes.allow_many_files()  # The upstream holds one for each stream.
    cores = processes.choose_cores(list(os.sched_getaffinity(0)))
    before = os.sched_getaffinity(0)
    # Directly under /tmp: short enough for sockets, reachable for the user Postgres runs as.
    folder = Path(tempfile.mkdtemp(prefix="claudcode-bench-", dir="/tmp"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(os.sched_setaffinity, 0, before)
        os.sched_setaffinity(0, cores.others)  # The engines inherit it.
        _export(folder)
        state = StateFolder(folder)
        lock = state.lock()
        assert lock is not None
        stack.enter_context(lock)
        engines = stack.enter_context(pair.running(state, with_postgres=True, with_valkey=True))
        assert engines.postgres is not None
        assert engines.valkey is not None
        env.export("DATABASE_URL", engines.postgres.url)
        env.export("VALKEY_URL", engines.valkey.url)
        upstream_port, upstream = stack.enter_context(_upstream(folder, cores))
        env.export("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{upstream_port}")
        _prepare_database(stack)
        gateway = stack.enter_context(_gateway(folder, cores.gateway, 1, {}))
        nginx_port = stack.enter_context(
            nginx.running(upstream_port, cores=cores.gateway, folder=folder)
        )
        yield Stage(
            folder=folder,
            cores=cores,
            gateway=gateway,
            upstream_port=upstream_port,
            upstream_pid=upstream.pid,
            valkey_pid=engines.valkey.pid,
            nginx_port=nginx_port,
        )


def _export(folder: Path) -> None:
    for name in FORGOTTEN:
        env.export(name, "")
    for name, value in ENVIRONMENT.items():
        env.export(name, value)
    env.export("CLAUDCODE_STATE", str(folder))
    env.use_settings()


def _prepare_database(stack: contextlib.ExitStack) -> None:
    # Django's settings are read by the first import, so not before the addresses are known.
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    stack.callback(connection.close_pool)
    stack.callback(connection.close)
    call_command("migrate", interactive=False, verbosity=0)
    from bench.population import add_keys

    add_keys(FIRST_KEY, KEYS_READY)


@contextlib.contextmanager
def _upstream(folder: Path, cores: Cores) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    command, log = [sys.executable, "-m", "bench.upstream"], folder / "upstream.log"
    run = processes.running(command, cores=cores.others, log=log, heard=True)
    with run as process:
        yield int(processes.first_line(process, log)), process


@contextlib.contextmanager
def _gateway(
    folder: Path, cores: frozenset[int], workers: int, settings: Mapping[str, str]
) -> Iterator[Gateway]:
    port, log = processes.free_port(), folder / "gateway.log"
    command = [sys.executable, "-m", "claudcode.server", "--port", str(port)]
    command += ["--workers", str(workers), "--shutdown", "2"]
    with processes.running(command, cores=cores, log=log, settings=settings) as process:
        processes.wait_for(f"http://127.0.0.1:{port}/healthz", process, log)
        yield Gateway(port, process.pid)
