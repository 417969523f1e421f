"""Indexes for the console's search and filters of a million keys.

Built beside the work that goes on, so each takes a statement of its own and no lock for long. What
`pg_trgm` needs is to own the database, or the right to create in it; it comes with Postgres.
"""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently, TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("keys", "0009_expiring_keys")]

    operations = [
        TrigramExtension(),
        AddIndexConcurrently(
            model_name="apikey",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Upper("name"), name="gin_trgm_ops"
                ),
                name="apikey_name_parts",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["last_four"], name="apikey_last_four"),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                fields=["-id"],
                condition=models.Q(("disabled_at__isnull", False)),
                name="apikey_disabled",
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(
                fields=["-id"],
                condition=models.Q(("revoked_at__isnull", False)),
                name="apikey_revoked",
            ),
        ),
    ]
