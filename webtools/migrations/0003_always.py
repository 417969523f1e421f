"""Web tools in every message, where an operator says so."""

from django.db import migrations, models


def _always():
    return models.BooleanField(
        db_default=False,
        default=False,
        help_text="On: each request to /v1/messages without tools of its own gets web tools. Off:"
        " those that ask by X-ClaudCode-Tools, and all while a tool session is open.",
        verbose_name="in every message",
    )


class Migration(migrations.Migration):
    dependencies = [("webtools", "0002_credit_price")]

    operations = [
        migrations.AddField(model_name="tavilyaccount", name="always", field=_always()),
        migrations.AddField(model_name="toolrule", name="always", field=_always()),
    ]
