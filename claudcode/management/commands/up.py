"""`manage.py up`: everything on this machine, from nothing to a gateway that answers."""

import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from claudcode import env
from claudcode.engines import command
from claudcode.first_run import FirstSecrets, first_secrets, first_upstream
from claudcode.processes import Group
from claudcode.welcome import welcome

READY_SECONDS_MAX = 90.0
# All must be gone 10 s after Ctrl-C. honcho kills what is left after 5, then the engines stop.
SHUTDOWN_SECONDS_MAX = 4
# The drain and the sweep wait for Postgres and Valkey, so threads serve them as well as processes.
WORKER_THREADS = 4


class Command(BaseCommand):
    help = "Start engines, gateway, worker, beat and, without an upstream, the simulator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        # Taken out of the command line before Django sees it; here for --help alone.
        parser.add_argument("--state", metavar="DIR", help="folder of data and secrets")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
        parser.add_argument("--workers", type=int, default=1, help="gateway processes")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1.")
        self.host, self.port = options["host"], _free_port(options["host"], options["port"])
        self.base_url = f"http://{_spoken(self.host)}:{self.port}"
        call_command("migrate", interactive=False, verbosity=0)
        self.upstreams = first_upstream()
        # Its threads must not be there when processes are forked.
        _disconnect()
        self.trouble = ""
        group = Group(on_started=self._watch)
        self._add_processes(group, options["workers"])
        self.stopping = threading.Event()
        group.loop()
        self.stopping.set()
        if self.trouble:
            raise CommandError(self.trouble)
        if not group.was_told_to_stop:
            raise CommandError(
                "A process ended that should not have, so all were stopped. See its lines above."
            )

    def _add_processes(self, group: Group, workers: int) -> None:
        environment = env.inherited() | {
            "CLAUDCODE_SUPERVISED": "true",
            "CLAUDCODE_STATE": str(settings.STATE),
            "PYTHONUNBUFFERED": "1",
        }
        programs = _programs(self.host, self.port, workers)
        if self.upstreams.simulated:
            port = _free_port("127.0.0.1", 0)
            programs["simulator"] = ["simulator", "--port", str(port)]
            environment |= command.simulated(f"http://127.0.0.1:{port}")
            command.publish_simulator(f"http://127.0.0.1:{port}")
        for name, words in programs.items():
            group.add(name, [sys.executable, "-m", *words], env=environment, folder=env.ROOT)

    def _watch(self) -> None:
        threading.Thread(target=self._watch_engines, daemon=True).start()
        threading.Thread(target=self._welcome_when_ready, daemon=True).start()

    def _watch_engines(self) -> None:
        engines = command.running_engines()
        while engines is not None and not self.stopping.wait(0.5):
            ended = engines.ended()
            if ended is not None:
                self._give_up(
                    f"{ended} ended unexpectedly; nothing that was written is lost. See"
                    f" {settings.STATE / 'logs'}, and start again."
                )
                return

    def _welcome_when_ready(self) -> None:
        try:
            last = self._wait_until_ready()
            if last:
                self._give_up(f"The gateway was not ready within {READY_SECONDS_MAX:g} s: {last}")
            elif not self.stopping.is_set():
                self._welcome(first_secrets())
        except Exception:
            self._give_up("The first operator and API key could not be made.")
            raise
        finally:
            _disconnect()

    def _welcome(self, secrets: FirstSecrets) -> None:
        self.stdout.write(welcome(self.base_url, secrets, self.upstreams, settings.STATE))
        self.stdout.flush()

    def _wait_until_ready(self) -> str:
        deadline = time.monotonic() + READY_SECONDS_MAX
        problem = "it never answered"
        while problem and time.monotonic() < deadline and not self.stopping.wait(0.1):
            problem = _not_ready(f"{self.base_url}/readyz")
        return problem

    def _give_up(self, trouble: str) -> None:
        # honcho listens to signals alone.
        if not self.stopping.is_set():
            self.trouble = trouble
            os.kill(os.getpid(), signal.SIGTERM)


def _programs(host: str, port: int, workers: int) -> dict[str, list[str]]:
    shutdown = str(min(settings.SHUTDOWN_SECONDS_MAX, SHUTDOWN_SECONDS_MAX))
    gateway = f"claudcode.server --host {shlex.quote(host)} --port {port} --workers {workers}"
    worker = f"celery -A claudcode -q worker --pool threads --concurrency {WORKER_THREADS}"
    schedule = shlex.quote(str(settings.STATE / "celerybeat-schedule"))
    return {
        "gateway": shlex.split(f"{gateway} --shutdown {shutdown}"),
        "worker": _revived(f"{worker} --without-gossip --without-mingle --without-heartbeat"),
        "beat": _revived(f"celery -A claudcode -q beat --schedule {schedule} --pidfile="),
    }


def _revived(words: str) -> list[str]:
    return ["claudcode.reviver", "--", sys.executable, "-m", *shlex.split(words)]


def _disconnect() -> None:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


def _free_port(host: str, port: int) -> int:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise CommandError(
            f"Cannot listen on port {port} of {host} ({error.strerror})."
            " Choose another with --port, or --port 0 for any that is free."
        ) from error


def _spoken(host: str) -> str:
    """Return the host that a client on this machine uses for what we listen on."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{own}]" if ":" in own else own


def _not_ready(url: str) -> str:
    """Return what is not ready, in words; empty when all is."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            parts = json.loads(error.read()).get("parts", [])
        return " ".join(f"{p['name']}: {p['detail']}" for p in parts if not p["ok"])
    except (OSError, ValueError) as error:
        return str(error)
