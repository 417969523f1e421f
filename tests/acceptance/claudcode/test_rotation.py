"""Every secret of a running installation is replaced as docs/rotation.md says, and nobody notices.

A gateway answers a trickle of requests, then its successor beside it, then that alone, as behind
a load balancer.
"""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from psycopg import sql

from keys.core.secret import Secret
from keys.models import ApiKey
from proxy.services import upstream_add
from tests.acceptance.conftest import with_database
from tests.acceptance.developer import PATIENCE_S, Developer
from tests.acceptance.gateway_process import GatewayProcess
from tests.acceptance.installation import Installation, entries_of, new_database
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key_and_secret, an_operator
from tests.waiting import wait_until

VALKEY_DATABASE = 8  # Others have 9 to 15 (tests/acceptance/conftest.py).
CREDENTIAL = "sk-ant-of-the-sealed-account"
OLD_SEAL, NEW_SEAL = (Fernet.generate_key().decode() for _ in range(2))
OLD_SIGNING, NEW_SIGNING = "old-" + "s" * 60, "new-" + "s" * 60
OLD_PASSWORD, NEW_PASSWORD = "the-old-password", "the-new-password"
CLIENTS = 2
ANSWERS = 8  # that are given before the next step


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the environment of one generation of gateways holds."""

    database_url: str
    valkey_url: str
    signing: str
    earlier_signing: str
    seals: str


class Fleet:
    """Gateways behind a balancer: one, and for a while its successor beside it.

    Who is taken out of the balancer finishes what it has.
    """

    def __init__(self, stack: contextlib.ExitStack, secrets: Secrets) -> None:
        self._stack = stack
        self._turn = threading.Condition()
        self._busy: Counter[GatewayProcess] = Counter()
        self.gateways = [self._started(secrets)]

    def join(self, secrets: Secrets) -> None:
        """Start one more gateway."""
        successor = self._started(secrets)
        with self._turn:
            self.gateways.append(successor)

    def leave(self) -> None:
        """Stop the eldest, once it has nothing to do."""
        with self._turn:
            eldest = self.gateways.pop(0)
            assert self._turn.wait_for(lambda: not self._busy[eldest], PATIENCE_S)
        eldest.stop()

    @contextlib.contextmanager
    def chosen(self, number: int) -> Iterator[str]:
        """Give the address of the gateway that request `number` goes to."""
        with self._turn:
            gateway = self.gateways[number % len(self.gateways)]
            self._busy[gateway] += 1
        try:
            yield gateway.url
        finally:
            with self._turn:
                self._busy[gateway] -= 1
                self._turn.notify_all()

    def _started(self, secrets: Secrets) -> GatewayProcess:
        installation = Installation(secrets.database_url, secrets.valkey_url)
        settings = {
            "SECRET_KEY": secrets.signing,
            "SECRET_KEY_FALLBACKS": secrets.earlier_signing,
            "CREDENTIAL_KEYS": secrets.seals,
        }
        gateway = GatewayProcess(installation, "http://127.0.0.1:9", **settings)
        return self._stack.enter_context(gateway)


class Trickle:
    """Clients who ask without end, streaming and not; `answered` counts statuses."""

    def __init__(self, fleet: Fleet, apikey: ApiKey, secret: Secret) -> None:
        self._fleet, self._apikey, self._secret = fleet, apikey, secret
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=[n]) for n in range(CLIENTS)]
        self.answered: Counter[str] = Counter()

    def __enter__(self) -> "Trickle":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self) -> None:
        """Wait until a few more were answered."""
        enough = self.answered.total() + ANSWERS
        wait_until(lambda: self.answered.total() >= enough, PATIENCE_S)

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=PATIENCE_S, trust_env=False) as http:
            while not self._over.wait(0.1):
                number += 1
                with self._fleet.chosen(number) as url:
                    self.answered[self._outcome(http, url, stream=number % 3 == 0)] += 1

    def _outcome(self, http: httpx.Client, url: str, *, stream: bool) -> str:
        developer = Developer(http, url, self._apikey, self._secret)
        try:
            answer = developer.ask("Hello!", stream=stream)
        except httpx.HTTPError as error:
            return repr(error)
        whole = not stream or "message_stop" in answer.text
        return "well" if answer.is_success and whole else f"{answer.status_code} {answer.text}"


@pytest.fixture(scope="module")
def installation(engines, pristine, django_db_blocker) -> Iterator[Installation]:
    """Stores of its own, to be entered with passwords; tests themselves need none."""
    name = f"claudcode_rotation_{os.getpid()}"
    valkey_url = with_database(os.environ["VALKEY_URL"], VALKEY_DATABASE)
    with new_database(os.environ["DATABASE_URL"], name, pristine) as database_url:
        installation = Installation(database_url, valkey_url)
        with installation.valkey() as valkey:
            valkey.flushdb()
        with (
            django_db_blocker.unblock(),
            installation.connected(),
            override_settings(CREDENTIAL_KEYS=[OLD_SEAL], SECRET_KEY=OLD_SIGNING),
        ):
            yield installation


@pytest.fixture
def postgres(installation: Installation) -> Iterator[psycopg.Connection]:
    """The superuser, on a server that asks all others for a password."""
    with psycopg.connect(installation.database_url, autocommit=True) as server:
        rules = Path(server.execute("SHOW hba_file").fetchone()[0])
        before = rules.read_text()
        rules.write_text(f"local all blue,green scram-sha-256\n{before}")
        server.execute("SELECT pg_reload_conf()")
        yield server
        rules.write_text(before)
        server.execute("SELECT pg_reload_conf()")
        for role in ("blue", "green"):
            server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def valkey(installation: Installation) -> Iterator[redis.Redis]:
    """Valkey, with a user who needs a password."""
    with installation.valkey() as valkey:
        valkey.execute_command("ACL", "SETUSER", "gateway", "on", "~*", "&*", "+@all")
        valkey.execute_command("ACL", "SETUSER", "gateway", f">{OLD_PASSWORD}")
        yield valkey
        valkey.execute_command("ACL", "DELUSER", "gateway")


def _login(postgres: psycopg.Connection, role: str, password: str) -> None:
    """As docs/rotation.md has it: who logs in acts as the role that owns the tables."""
    owner = sql.Identifier(postgres.info.user)
    name = sql.Identifier(role)
    create = "CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}"
    postgres.execute(sql.SQL(create).format(name, sql.Literal(password), owner))
    postgres.execute(sql.SQL("ALTER ROLE {} SET role TO {}").format(name, owner))


def _as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":  # geturl() would lose its slashes.
        return f"unix://{user}:{password}@{parts.path}?{parts.query}"
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


def _signed_in() -> httpx.Client:
    """A browser of an operator who signed in before any change."""
    session = Client()
    session.force_login(an_operator())
    browser = httpx.Client(timeout=PATIENCE_S, trust_env=False)
    for name, morsel in session.cookies.items():
        browser.cookies.set(name, morsel.value, domain="127.0.0.1")
    return browser


def _home(fleet: Fleet, browser: httpx.Client) -> int:
    """Ask the youngest gateway for the console's home."""
    return browser.get(fleet.gateways[-1].url + reverse("admin:index")).status_code


@pytest.mark.slow
def test_every_secret_is_replaced_and_nobody_notices(installation, postgres, valkey):
    apikey, secret = a_key_and_secret(rpm=None, concurrency=None)
    _login(postgres, "blue", OLD_PASSWORD)
    old = Secrets(
        _as_user(installation.database_url, "blue", OLD_PASSWORD),
        _as_user(installation.valkey_url, "gateway", OLD_PASSWORD),
        signing=OLD_SIGNING,
        earlier_signing="",
        seals=OLD_SEAL,
    )
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(SimulatorProcess("--credential", CREDENTIAL))
        upstream_add(name="sealed", base_url=simulator.url, credential=CREDENTIAL, acting_user=None)
        browser = stack.enter_context(_signed_in())
        fleet = Fleet(stack, old)
        with Trickle(fleet, apikey, secret) as trickle:
            trickle.more()

            # Both the old and the new are good.
            _login(postgres, "green", NEW_PASSWORD)
            valkey.execute_command("ACL", "SETUSER", "gateway", f">{NEW_PASSWORD}")
            both = Secrets(
                _as_user(installation.database_url, "green", NEW_PASSWORD),
                _as_user(installation.valkey_url, "gateway", NEW_PASSWORD),
                signing=NEW_SIGNING,
                earlier_signing=OLD_SIGNING,
                seals=f"{NEW_SEAL},{OLD_SEAL}",
            )
            fleet.join(both)
            trickle.more()
            fleet.leave()
            trickle.more()
            assert _home(fleet, browser) == 200
            with override_settings(CREDENTIAL_KEYS=[NEW_SEAL, OLD_SEAL]):
                call_command("credentials_rotate", verbosity=0)

            # The old ones are worth nothing any more.
            fleet.join(replace(both, earlier_signing="", seals=NEW_SEAL))
            trickle.more()
            fleet.leave()
            postgres.execute("ALTER ROLE blue NOLOGIN")
            valkey.execute_command("ACL", "SETUSER", "gateway", f"<{OLD_PASSWORD}")
            trickle.more()
            assert _home(fleet, browser) == 200
    _nobody_enters_with(old)
    assert set(trickle.answered) == {"well"}
    assert len(entries_of(apikey, trickle.answered.total())) == trickle.answered.total()


def _nobody_enters_with(old: Secrets) -> None:
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(old.database_url)
    with (
        redis.Redis.from_url(old.valkey_url) as valkey,
        pytest.raises(redis.AuthenticationError),
    ):
        valkey.ping()
