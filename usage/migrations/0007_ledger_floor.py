"""Up to when entries of a team were dropped, for what compares the ledger with its roll-ups."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_folding")]

    operations = [
        migrations.CreateModel(
            name="LedgerFloor",
            fields=[
                ("team_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("settled_at", models.DateTimeField()),
            ],
        ),
    ]
