"""Roll-ups for dashboards, and the trigger of the ledger that writes them.

The release before may go on writing the ledger: the trigger is the database's. Entries from before
are added by workers of this release, batch by batch (`usage.catching_up`).
"""

from django.db import migrations, models

from usage.rolling import BEGIN, INSTALL, UNINSTALL


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0004_check_old_entries"),
    ]

    operations = [
        migrations.CreateModel(
            name="Backfill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("exchange_id", models.UUIDField()),
            ],
        ),
        migrations.CreateModel(
            name="GroupRollup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("requests", models.BigIntegerField()),
                ("errors", models.BigIntegerField()),
                ("hung_up", models.BigIntegerField()),
                ("abandoned", models.BigIntegerField()),
                ("estimated", models.BigIntegerField()),
                ("cache_hits", models.BigIntegerField()),
                ("cache_misses", models.BigIntegerField()),
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
                ("grain", models.CharField(max_length=1)),
                ("facet", models.CharField(max_length=10)),
                ("team_id", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("value", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("grain", "facet", "team_id", "at", "value"),
                        name="grouprollup_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="KeyRollup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("requests", models.BigIntegerField()),
                ("errors", models.BigIntegerField()),
                ("hung_up", models.BigIntegerField()),
                ("abandoned", models.BigIntegerField()),
                ("estimated", models.BigIntegerField()),
                ("cache_hits", models.BigIntegerField()),
                ("cache_misses", models.BigIntegerField()),
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
                ("grain", models.CharField(max_length=1)),
                ("at", models.DateTimeField()),
                ("apikey_id", models.BigIntegerField()),
                ("team_id", models.BigIntegerField()),
                ("model", models.CharField(blank=True, max_length=200)),
                ("upstream", models.CharField(blank=True, max_length=200)),
                ("client", models.CharField(blank=True, max_length=200)),
                ("error_type", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["grain", "at"], name="keyrollup_at"),
                    models.Index(fields=["team_id", "grain", "at"], name="keyrollup_team_at"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "apikey_id",
                            "grain",
                            "at",
                            "team_id",
                            "model",
                            "upstream",
                            "client",
                            "error_type",
                        ),
                        name="keyrollup_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LatencyRollup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("holder", models.CharField(max_length=1)),
                ("holder_id", models.BigIntegerField()),
                ("grain", models.CharField(max_length=1)),
                ("measure", models.CharField(max_length=1)),
                ("at", models.DateTimeField()),
                ("model", models.CharField(blank=True, max_length=200)),
                ("bucket", models.SmallIntegerField()),
                ("count", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("holder", "holder_id", "grain", "measure", "at", "model", "bucket"),
                        name="latencyrollup_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SessionRollup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateTimeField()),
                ("apikey_id", models.BigIntegerField()),
                ("team_id", models.BigIntegerField()),
                ("session_id", models.CharField(blank=True, max_length=200)),
                ("agent_id", models.CharField(blank=True, max_length=200)),
                ("parent_agent_id", models.CharField(blank=True, max_length=200)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("requests", models.BigIntegerField()),
                ("errors", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_creation_input_tokens", models.BigIntegerField()),
                ("cache_read_input_tokens", models.BigIntegerField()),
                ("charged_tokens", models.BigIntegerField()),
                ("cost_nanousd", models.BigIntegerField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["apikey_id", "day"], name="sessionrollup_apikey_day"),
                    models.Index(fields=["team_id", "day"], name="sessionrollup_team_day"),
                    models.Index(fields=["session_id"], name="sessionrollup_session"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=(
                            "day",
                            "apikey_id",
                            "team_id",
                            "session_id",
                            "agent_id",
                            "parent_agent_id",
                        ),
                        name="sessionrollup_unique",
                    )
                ],
            },
        ),
        # Each row of a running day or hour is updated every second: room for that in its page.
        *(
            migrations.RunSQL(
                f"ALTER TABLE usage_{name}rollup SET (fillfactor = 80)", migrations.RunSQL.noop
            )
            for name in ("key", "group", "latency", "session")
        ),
        migrations.RunSQL(INSTALL, UNINSTALL),
        migrations.RunSQL(BEGIN, migrations.RunSQL.noop),
    ]
