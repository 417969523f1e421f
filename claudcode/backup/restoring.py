"""Brings a backup back: everything is checked first, then Postgres, then what was in flight.

Afterwards Valkey holds no window: each is loaded from the ledger at its next use. What was in
flight at the backup's instant has lost its gateway, so it is charged as abandoned.
"""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from claudcode.backup import in_flight, postgres
from claudcode.backup.archive import POSTGRES, VALKEY, BackupError, Manifest, Reader
from claudcode.backup.taking import fingerprints
from keys import valkey
from keys.sweep import sweep
from usage import ledger
from usage.models import LedgerEntry


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back. `abandoned` were in flight, and are charged without an answer's counts."""

    manifest: Manifest
    entries: int
    abandoned: int


def restore(path: Path, *, force: bool = False, without_keys: bool = False) -> Restored:
    """Make the stores what `path` says. Raises `BackupError` before anything was touched.

    `force` replaces what is there; `without_keys` goes on although sealed secrets are lost.
    """
    reader = Reader(path)
    try:
        reader.verify()
        _refuse_another_installation(reader.manifest, without_keys=without_keys)
        _refuse_another_version(reader.manifest)
        _refuse_full_stores(force=force)
        return _replace(reader)
    finally:
        reader.close()


def _refuse_another_installation(manifest: Manifest, *, without_keys: bool) -> None:
    if manifest.shards != settings.SHARDS:
        raise BackupError(
            f"The backup was made with CLAUDCODE_SHARDS={manifest.shards}, and here it is"
            f" {settings.SHARDS}."
        )
    missing = set(manifest.credential_keys) - set(fingerprints())
    if manifest.sealed and missing and not without_keys:
        raise BackupError(
            f"{manifest.sealed} secrets are sealed, and CLAUDCODE_CREDENTIAL_KEYS lacks"
            f" {len(missing)} of the {len(manifest.credential_keys)} keys of the installation that"
            " was backed up. Set them (an embedded run keeps its own in `credential_key` of the"
            " state folder), or restore with --without-keys and enter the credentials of upstream"
            " accounts, web tools, webhooks and authenticator apps again."
        )


def _refuse_another_version(manifest: Manifest) -> None:
    known = {".".join(key) for key in MigrationLoader(None).disk_migrations}
    unknown = [name for name in map(".".join, manifest.migrations) if name not in known]
    if unknown:
        raise BackupError(
            f"The backup is of a newer version: {', '.join(unknown[:3])} is not known here."
            " Restore with the version that made it."
        )
    if postgres.server_major() < manifest.postgres_major:
        raise BackupError(
            f"The backup is of Postgres {manifest.postgres_major}, which Postgres"
            f" {postgres.server_major()} cannot be trusted to read."
        )


def _refuse_full_stores(*, force: bool) -> None:
    if force:
        return
    if not postgres.is_empty():
        raise BackupError("There are tables in this database. --force drops all of them first.")
    if any(node.dbsize() for node in valkey.primaries(valkey.client())):
        raise BackupError("This Valkey database holds keys. --force removes all of them first.")
    if others := postgres.others():
        raise BackupError(
            f"{others} others are connected to this database. Stop gateways, worker and beat."
        )


def _replace(reader: Reader) -> Restored:
    postgres.clear()
    # Content types and permissions that Django remembers are of the tables that were there.
    connection.close()
    postgres.load(reader.chunks(POSTGRES))
    call_command("migrate", verbosity=0, interactive=False)
    client = valkey.client()
    client.flushdb()
    lines = reader.lines(VALKEY)
    in_flight.put_events(client, (line for line in lines if line["kind"] == in_flight.EVENT))
    while ledger.drain():
        pass
    lines = reader.lines(VALKEY)
    abandoned = in_flight.put_leases(
        client, (line for line in lines if line["kind"] == in_flight.LEASE)
    )
    while sweep():
        pass
    while ledger.drain():
        pass
    return Restored(reader.manifest, LedgerEntry.objects.count(), abandoned)
