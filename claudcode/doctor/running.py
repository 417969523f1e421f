"""Looks at what runs: Celery, the drain, upstream accounts, and who may enter the console."""

import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from kombu.exceptions import OperationalError

from claudcode.celery import app
from claudcode.doctor.findings import Finding, Level, error, ok, warning
from operators.models import AuthenticatorApp
from proxy import accounts, probe
from proxy.accounts import NotDescribed
from proxy.core.account import Account
from proxy.credentials import CredentialUnreadable
from proxy.models import Source, UpstreamAccount
from usage import ledger, partitions
from usage.core.partition import DEFAULT
from usage.models import DeadLetter

ANSWER_S = 1.5
# Beat asks every second; two of its ticks fit in between.
BEAT_S = 2.5
UPSTREAM_SECONDS_MAX = 8.0
LAG_S_WARN = 10.0
MONTHS_AHEAD_MIN = 1
WORKER = "Start it: celery -A claudcode worker --pool threads. Without it nothing is in the ledger."


def look_at_celery() -> Iterator[Finding]:
    """Ask all workers how many drains they ran, twice: the number grows while beat lives."""
    try:
        before = _drains()
        if before is None:
            yield error("worker", "No Celery worker answers.", WORKER)
            return
        time.sleep(BEAT_S)
        after = _drains()
    except OperationalError:
        yield error("worker", "The queue in Valkey cannot be reached.", "See the look at Valkey.")
        return
    yield ok("worker", "It answers.")
    if after is None or after <= before:
        advice = (
            "Start it, once in all: celery -A claudcode beat. Without it no alert is looked for."
        )
        yield error("beat", "Workers are asked for nothing.", advice)
    else:
        yield ok("beat", "It asks for work.")


def look_at_drain() -> Iterator[Finding]:
    """Look at how far the ledger is behind."""
    lag_s = ledger.drain_lag()
    seen = f"The ledger is {lag_s:.1f} s behind."
    advice = "See whether a Celery worker runs, and what its log says of Postgres."
    if lag_s > settings.DRAIN_LAG_S_MAX:
        yield error("drain", seen, advice)
    else:
        yield warning("drain", seen, advice) if lag_s > LAG_S_WARN else ok("drain", seen)


def look_at_dead_letters() -> Iterator[Finding]:
    """Look for events that are in no report."""
    count = DeadLetter.objects.count()
    if count:
        advice = "The console shows them under Dead letters, each with the reason."
        yield warning("dead letters", f"{count} events are not in the ledger.", advice)


def look_at_months() -> Iterator[Finding]:
    """Look whether this month and the next have a partition, and entries that are in none."""
    missing = partitions.missing_months(timezone.now(), MONTHS_AHEAD_MIN)
    stray = partitions.has_strays()
    if missing:
        names = ", ".join(f"{month:%Y-%m}" for month in missing)
        seen = f"Without a partition: {names}. Entries go to the one of what is of no month."
        yield warning("ledger months", seen, "Run manage.py ledger_partitions make. Drains do so.")
    if stray:
        seen = f"Some entries are of no month that is there ({DEFAULT})."
        advice = "Make the month, which moves them, or see whose clock is wrong: docs/ledger.md."
        yield warning("ledger entries", seen, advice)
    if not missing and not stray:
        yield ok("ledger months", "This month and the next have their partitions.")


def look_at_upstreams() -> Iterator[Finding]:
    """Make the free call to every account that is in use."""
    enabled = list(UpstreamAccount.objects.filter(enabled=True))
    asked = [row for row in enabled if not accounts.stands_aside(row, enabled)]
    own = any(row.credential_source != Source.ENVIRONMENT for row in asked)
    if settings.UPSTREAM_SIMULATED and not own:
        advice = "Set ANTHROPIC_API_KEY, or add an account in the console."
        yield warning("upstream", "The simulator answers: answers are made up.", advice)
    usable: list[Account] = []
    unusable = False
    for row in asked:
        try:
            usable.append(accounts.load_account(row))
        except (CredentialUnreadable, NotDescribed) as fault:
            advice = "Give its credential again, or disable it."
            yield error(f"upstream {row.name}", str(fault), advice)
            unusable = True
    usable = usable or list(accounts.load_accounts())
    if not usable and not unusable:
        advice = "Set ANTHROPIC_API_KEY, or add an account in the console."
        yield error("upstream", "There is no account to send to.", advice)
    found = probe.probe_all(usable, seconds_max=UPSTREAM_SECONDS_MAX)
    advice = "Test it in the console; see address, credential, DNS and the way out."
    for account, result in zip(usable, found, strict=True):
        level = Level.ERROR if result.trouble else Level.OK
        name = f"upstream {account.name}"
        yield Finding(level, name, str(result), advice if result.trouble else "")


def look_at_operators() -> Iterator[Finding]:
    """Look for operators who enter with a password alone."""
    staff = User.objects.filter(is_active=True, is_staff=True)
    confirmed = AuthenticatorApp.objects.filter(confirmed=True).values("user")
    bare = list(
        staff.exclude(pk__in=confirmed).order_by("pk").values_list("username", flat=True)[:6]
    )
    if not staff.exists():
        yield warning("operators", "There is none.", "Make one: manage.py operator_add.")
    elif bare:
        names = ", ".join(bare[:5]) + (" and others" if len(bare) > 5 else "")
        advice = "Have them set it up, and set CLAUDCODE_REQUIRE_2FA=true."
        yield warning("second factors", f"Without one: {names}.", advice)
    else:
        yield ok("second factors", "Every operator has one.")


def _drains() -> int | None:
    said: dict[str, Any] | None = app.control.inspect(timeout=ANSWER_S).stats()
    if not said:
        return None
    totals = (one.get("total", {}) for one in said.values())
    return sum(int(total.get("usage.tasks.drain", 0)) for total in totals)
