"""An installation's two stores, as the gateway's operator sees them.

What is written here is committed and never flushed, so that other processes see it: every test
makes keys of its own instead. Django in this process is pointed at the stores by `connected`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from psycopg import sql

from claudcode import stores
from keys.models import ApiKey
from keys.valkey import client_of
from tests.waiting import wait_until
from usage import ledger
from usage.models import LedgerEntry


@dataclass(frozen=True, slots=True)
class Installation:
    """The addresses of Postgres and Valkey."""

    database_url: str
    valkey_url: str

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Let this process' ORM and services work on these stores."""
        described = stores.database(self.database_url, connections_max=4)
        before = connection.settings_dict.copy()
        disconnect()
        connection.settings_dict.update(described)
        try:
            with override_settings(VALKEY_URL=self.valkey_url):
                yield
        finally:
            disconnect()
            connection.settings_dict.update(before)

    def migrate(self) -> None:
        """Make the tables; the caller is connected."""
        call_command("migrate", verbosity=0)

    def valkey(self) -> redis.Redis:
        """A client of Valkey, for the caller to close."""
        # Not the one that all of this process share: it is closed by whoever asked.
        return client_of.__wrapped__(self.valkey_url, 5.0)


@contextlib.contextmanager
def new_database(server_url: str, name: str, template: str = "template1") -> Iterator[str]:
    """Make the database `name` beside that of `server_url`, and drop it in the end."""
    with psycopg.connect(server_url, autocommit=True) as server:
        made, copied = sql.Identifier(name), sql.Identifier(template)
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, copied))
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def ledger_entry(request_id: str) -> LedgerEntry:
    """Drain until the exchange that was answered with `request_id` is in the ledger; return it."""
    return _drained(exchange_id=request_id.removeprefix("req_"))


def only_entry(apikey: ApiKey) -> LedgerEntry:
    """Drain until an exchange of `apikey` is in the ledger; return it."""
    return _drained(apikey=apikey)


def entries_of(apikey: ApiKey, count: int) -> list[LedgerEntry]:
    """Drain until `count` exchanges of `apikey` are in the ledger; return them as admitted."""

    def look() -> list[LedgerEntry]:
        ledger.drain()
        found = list(LedgerEntry.objects.filter(apikey=apikey).order_by("exchange_id"))
        return found if len(found) >= count else []

    found = wait_until(look, 15)
    assert len(found) == count
    return found


def _drained(**wanted: Any) -> LedgerEntry:
    def look() -> LedgerEntry | None:
        ledger.drain()
        return LedgerEntry.objects.filter(**wanted).first()

    entry = wait_until(look)
    assert entry is not None
    return entry


def disconnect() -> None:
    """Drop this process' connections to Postgres; the next query makes new ones."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
