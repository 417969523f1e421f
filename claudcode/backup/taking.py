"""Takes a backup of what runs, without stopping it."""

import hashlib
from contextlib import closing
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django_otp.plugins.otp_totp.models import TOTPDevice

from claudcode.backup import in_flight, postgres
from claudcode.backup.archive import POSTGRES, VALKEY, Manifest, Writer, appearing_whole
from keys import valkey
from operators.alerts.models import AlertTarget
from proxy.models import UpstreamAccount
from webtools.models import TavilyAccount

# Of the digest of a key: enough to tell keys apart, and no way back to one of 256 random bits.
FINGERPRINT_CHARS = 16


def backup(target: str) -> Manifest:
    """Write a backup to the file `target`, or to standard output for `-`; return its manifest."""
    client = valkey.client()
    taken_at_ms = in_flight.now_ms(client)
    counts = {in_flight.LEASE: 0, in_flight.EVENT: 0}

    def counted() -> Any:
        for line in chain(in_flight.leases(client), in_flight.events(client)):
            counts[line["kind"]] += 1
            yield line

    with appearing_whole(target) as file, closing(Writer(file)) as writer:
        writer.add(VALKEY, in_flight.encoded(counted()), compressed=True)
        applied = MigrationRecorder(connection).applied_migrations()
        writer.add(POSTGRES, postgres.dump())
        manifest = Manifest(
            taken_at_ms=taken_at_ms,
            shards=settings.SHARDS,
            migrations=sorted([app, name] for app, name in applied),
            postgres_major=postgres.server_major(),
            sealed=sealed_count(),
            credential_keys=fingerprints(),
            events=counts[in_flight.EVENT],
            leases=counts[in_flight.LEASE],
            digests=writer.digests,
        )
        writer.finish(manifest)
    return manifest


def sealed_count() -> int:
    """Return how many secrets in Postgres are sealed by CLAUDCODE_CREDENTIAL_KEYS."""
    return sum(
        (
            UpstreamAccount.objects.exclude(credential=None).count(),
            AlertTarget.objects.exclude(secret="").count(),
            TavilyAccount.objects.exclude(credential=None).count(),
            TOTPDevice.objects.count(),
        )
    )


def fingerprints() -> list[str]:
    """Return what tells each of CLAUDCODE_CREDENTIAL_KEYS from another key."""
    return [
        hashlib.sha256(b"claudcode backup:" + key.encode()).hexdigest()[:FINGERPRINT_CHARS]
        for key in settings.CREDENTIAL_KEYS
    ]
