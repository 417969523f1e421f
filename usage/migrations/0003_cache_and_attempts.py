"""What the response cache did and which accounts were asked, in the ledger and its roll-up.

The release before may go on writing: every column has a default in the database, so nothing is
rewritten either. Old rows are checked by the next migration, which locks nobody out.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


def _column(model: str, name: str, field: models.Field) -> migrations.AddField:
    return migrations.AddField(model_name=model, name=name, field=field)


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_list_prices")]

    operations = [
        _column("ledgerentry", "attempts", models.JSONField(null=True)),
        _column(
            "ledgerentry",
            "cache",
            models.CharField(
                choices=[("hit", "hit"), ("miss", "miss"), ("bypass", "bypass")],
                db_default="bypass",
                max_length=8,
            ),
        ),
        _column(
            "ledgerentry",
            "cache_source",
            models.CharField(blank=True, db_default="", max_length=200),
        ),
        _column("ledgerentry", "saved_tokens", models.BigIntegerField(db_default=0)),
        _column("ledgerentry", "saved_nanousd", models.BigIntegerField(db_default=0)),
        _column("hourlyrollup", "cache_hits", models.BigIntegerField(db_default=0)),
        _column("hourlyrollup", "cache_misses", models.BigIntegerField(db_default=0)),
        _column("hourlyrollup", "saved_tokens", models.BigIntegerField(db_default=0)),
        _column("hourlyrollup", "saved_nanousd", models.BigIntegerField(db_default=0)),
        AddConstraintNotValid(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("saved_nanousd__gte", 0), ("saved_tokens__gte", 0)),
                name="ledgerentry_savings_not_negative",
            ),
        ),
        AddConstraintNotValid(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("cache__in", ["hit", "miss", "bypass"])),
                name="ledgerentry_cache",
            ),
        ),
    ]
