"""Indexes for the console's list of alerts and its search, built beside the work that goes on."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    atomic = False

    # The extension for parts of names came with the search for keys.
    dependencies = [("alerts", "0002_tell_of_the_end"), ("keys", "0010_search")]

    operations = [
        AddIndexConcurrently(
            model_name="alert",
            index=models.Index(fields=["-resolved_at", "-raised_at", "-id"], name="alert_listed"),
        ),
        AddIndexConcurrently(
            model_name="alert",
            index=GinIndex(
                OpClass(Upper("subject_name"), name="gin_trgm_ops"), name="alert_name_parts"
            ),
        ),
    ]
