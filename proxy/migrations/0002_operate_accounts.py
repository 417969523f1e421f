"""The permission to test, enable and disable accounts without seeing to their credentials."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("proxy", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="upstreamaccount",
            options={
                "ordering": ("priority", "name"),
                "permissions": (
                    ("operate_upstreamaccount", "Can test, enable and disable accounts"),
                ),
                "verbose_name": "upstream account",
            },
        ),
    ]
