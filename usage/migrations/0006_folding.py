"""Notes of what the ledger gained or lost, which the trigger now writes instead of the roll-ups.

The release before may go on writing the ledger: workers of this one add what is noted
(`usage.folding`). Between this migration's beginning and its end, drains wait.
"""

from django.db import migrations, models

from usage.rolling import INSTALL, SUM, UNINSTALL


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0005_dashboards"),
    ]

    operations = [
        migrations.CreateModel(
            name="RollupDelta",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sign", models.SmallIntegerField()),
                ("apikey_id", models.BigIntegerField()),
                ("team_id", models.BigIntegerField(null=True)),
                ("admitted_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField()),
                ("status", models.CharField(blank=True, max_length=200)),
                ("error_type", models.CharField(blank=True, max_length=200)),
                ("model_requested", models.CharField(blank=True, max_length=200)),
                ("model_answered", models.CharField(blank=True, max_length=200)),
                ("upstream", models.CharField(blank=True, max_length=200)),
                ("client_agent", models.CharField(blank=True, max_length=200)),
                ("session_id", models.CharField(blank=True, max_length=200)),
                ("agent_id", models.CharField(blank=True, max_length=200)),
                ("parent_agent_id", models.CharField(blank=True, max_length=200)),
                ("cache", models.CharField(blank=True, max_length=200)),
                ("estimated", models.BooleanField()),
                ("first_byte_ms", models.BigIntegerField(null=True)),
                ("total_ms", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_creation_input_tokens", models.BigIntegerField()),
                ("cache_creation_1h_input_tokens", models.BigIntegerField()),
                ("cache_read_input_tokens", models.BigIntegerField()),
                ("web_search_requests", models.BigIntegerField()),
                ("charged_tokens", models.BigIntegerField()),
                ("cost_nanousd", models.BigIntegerField()),
                ("saved_tokens", models.BigIntegerField()),
                ("saved_nanousd", models.BigIntegerField()),
            ],
        ),
        migrations.RunSQL(SUM, migrations.RunSQL.noop),
        migrations.RunSQL(INSTALL, UNINSTALL),
    ]
