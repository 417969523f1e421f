"""Indexes for what is searched for in a long audit trail, built beside the work that goes on."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("keys", "0010_search")]

    operations = [
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(Upper("actor_name"), name="auditevent_actor_name"),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(Upper("action"), name="auditevent_action"),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["target_id"], name="auditevent_target_id"),
        ),
    ]
