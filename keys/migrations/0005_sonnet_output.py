"""Claude Sonnet 4.6 writes up to 128,000 tokens; an operator's own figure stays.

Source: Anthropic's page of the model, https://platform.claude.com/docs/en/models/sonnet-4-6/overview
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def correct(apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    documented = apps.get_model("keys", "ClaudeModel").objects.filter(model_id="claude-sonnet-4-6")
    documented.filter(output_tokens_max=64_000).update(output_tokens_max=128_000)


class Migration(migrations.Migration):
    dependencies = [("keys", "0004_cache_waiting_maintenance")]

    operations = [migrations.RunPython(correct, migrations.RunPython.noop)]
