"""`manage.py doctor`: what is wrong with this installation, and what to do about it."""

import dataclasses
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from claudcode.doctor import configured, running, stores
from claudcode.doctor.findings import Finding, Level, Look, look_all

MARKS = {Level.OK: "ok  ", Level.SKIPPED: "skip", Level.WARNING: "WARN", Level.ERROR: "FAIL"}


class Command(BaseCommand):
    help = "Look at settings, stores, workers and upstreams, and say what to do. Exit 1 on errors."
    requires_system_checks: list[str] | tuple[str, ...] = []  # They are among what it tells.

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="findings as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = examine()
        failed = any(one.level is Level.ERROR for one in found)
        if options["json"]:
            findings = [dataclasses.asdict(one) for one in found]
            self.stdout.write(json.dumps({"ok": not failed, "findings": findings}, indent=1))
        else:
            for one in found:
                self.stdout.write(f"{MARKS[one.level]}  {one.name}: {one.seen}")
                if one.advice:
                    self.stdout.write(f"      {one.advice}")
        if failed:
            sys.exit(1)


def examine() -> list[Finding]:
    """Return what every look found. What needs a store that is away is skipped."""
    found = list(
        look_all(
            {
                "settings": configured.look_at_settings,
                "secrets": configured.look_at_secrets,
                "site": configured.look_at_site,
                "encryption": configured.look_at_encryption,
                "machine": configured.look_at_machine,
                "postgres": _if_set("postgres", settings.DATABASE_URL, stores.look_at_postgres),
                "valkey": _if_set("valkey", settings.VALKEY_URL, stores.look_at_valkey),
            }
        )
    )
    up = {one.name for one in found if one.level is Level.OK}
    by_store: dict[str, dict[str, Look]] = {
        "postgres": {
            "upstream": running.look_at_upstreams,
            "dead letters": running.look_at_dead_letters,
            "ledger months": running.look_at_months,
            "second factors": running.look_at_operators,
        },
        "valkey": {"worker": running.look_at_celery, "drain": running.look_at_drain},
    }
    looks = {name: look for s, each in by_store.items() if s in up for name, look in each.items()}
    found += look_all(looks)
    found += [
        Finding(Level.SKIPPED, name, f"Not looked at, as {store} is away.")
        for store, each in by_store.items()
        if store not in up
        for name in each
    ]
    return found


def _if_set(name: str, url: str, look: Look) -> Look:
    if url:
        return look
    seen = f"{'DATABASE_URL' if name == 'postgres' else 'VALKEY_URL'} is not set."
    advice = "Set it, or look while manage.py up runs: it embeds the engine."
    return lambda: [Finding(Level.ERROR, name, seen, advice)]
