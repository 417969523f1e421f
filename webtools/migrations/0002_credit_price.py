"""The list price of a credit as one goes, in force since before anybody called."""

import datetime as dt

from django.db import migrations

CREDIT_NANOUSD = 8_000_000
SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def add(apps, _schema_editor):
    apps.get_model("webtools", "CreditPrice").objects.create(
        starts_at=SINCE, credit_nanousd=CREDIT_NANOUSD
    )
    apps.get_model("webtools", "TavilyAccount").objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("webtools", "0001_initial")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
