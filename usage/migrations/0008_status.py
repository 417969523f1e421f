"""An index for one kind of trouble, made before partitions would each need one."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("usage", "0007_ledger_floor")]

    operations = [
        AddIndexConcurrently(
            "ledgerentry",
            models.Index(
                fields=["status", "settled_at"],
                condition=~Q(status="completed"),
                name="ledgerentry_status_settled",
            ),
        ),
    ]
