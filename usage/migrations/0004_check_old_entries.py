"""Checks old ledger entries against the constraints of 0003, while new ones are being written."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_cache_and_attempts")]

    operations = [
        ValidateConstraint(model_name="ledgerentry", name="ledgerentry_savings_not_negative"),
        ValidateConstraint(model_name="ledgerentry", name="ledgerentry_cache"),
    ]
