"""The three documented models, and the one row of the maintenance switch.

Source of dates and sizes: Anthropic's page of each model, such as
https://platform.claude.com/docs/en/models/opus-4-6/overview (0005 corrects one size).
"""

import datetime as dt

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def _day(year: int, month: int, day: int) -> dt.datetime:
    return dt.datetime(year, month, day, tzinfo=dt.UTC)


# Id, name, day of release, context window, longest output.
DOCUMENTED = [
    ("claude-opus-4-6", "Claude Opus 4.6", _day(2026, 2, 5), 1_000_000, 128_000),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6", _day(2026, 2, 17), 1_000_000, 64_000),
    ("claude-haiku-4-5", "Claude Haiku 4.5", _day(2025, 10, 15), 200_000, 64_000),
]


def add(apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    claude_models = apps.get_model("keys", "ClaudeModel").objects
    for position, (model_id, name, released_at, context, output) in enumerate(DOCUMENTED):
        claude_models.create(
            model_id=model_id,
            display_name=name,
            released_at=released_at,
            context_window_tokens=context,
            output_tokens_max=output,
            position=position,
        )
    apps.get_model("keys", "Maintenance").objects.create(id=1)


class Migration(migrations.Migration):
    dependencies = [("keys", "0001_initial")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
