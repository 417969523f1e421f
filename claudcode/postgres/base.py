"""Django's own Postgres engine, made for servers that fail over and for poolers before them.

After a failover what was the primary may be back as a replica: whoever is still connected to it
would write errors until a restart. So where `DATABASE_URL` asks for a server that can be written
(`target_session_attrs`), each connection that the pool hands out is asked whether its server still
is one, in the round trip that asks whether it lives at all; and wherever a write was refused for
the server takes none, the connection is thrown away at its return.
"""

from typing import Any

from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg import Connection, OperationalError
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import ConnectionPool

WRITABLE = frozenset({"read-write", "primary"})


class ServerReadOnly(OperationalError):
    """The server takes no writes any more; connect anew, to the one that does."""


class _Errors(DatabaseErrorWrapper):
    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if isinstance(value, ReadOnlySqlTransaction):
            self.wrapper.demoted = True  # type: ignore[attr-defined]
        super().__exit__(kind, value, trace)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that leaves nothing behind, from a pool that keeps none to a demoted server."""

    # Whether the server refused a write of this connection because it takes none.
    demoted = False

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _Errors(self)

    @property
    def pool(self) -> Any:
        options = self.settings_dict["OPTIONS"].get("pool")
        pools: dict[str, Any] = self._connection_pools  # type: ignore[attr-defined]
        if options and self.settings_dict["NAME"] and self.alias not in pools:
            made = ConnectionPool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]
                check=self._check(),
                **options,
            )
            pools.setdefault(self.alias, made)
        return super().pool

    def chunked_cursor(self) -> Any:
        """Return a cursor of the server inside of a transaction, else an ordinary one."""
        return super().chunked_cursor() if self.in_atomic_block else self.cursor()

    def _check(self) -> Any:
        wanted = self.settings_dict["OPTIONS"].get("target_session_attrs")
        return check_writable if wanted in WRITABLE else ConnectionPool.check_connection

    def _close(self) -> Any:
        demoted, self.demoted = self.demoted, False
        if demoted and self.connection is not None:
            self.connection.close()
        return super()._close()  # type: ignore[misc]


def check_writable(connection: Connection[Any]) -> None:
    """Raise `OperationalError` unless the server answers, and takes writes."""
    if not connection.autocommit:
        connection.autocommit = True
    found = connection.execute("SHOW transaction_read_only").fetchone()
    if found is None or found[0] != "off":
        connection.close()  # Or the pool would hand it out again.
        raise ServerReadOnly("the server is read-only")
