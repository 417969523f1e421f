"""The permission of a team's lead."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("keys", "0005_sonnet_output")]

    operations = [
        migrations.AlterModelOptions(
            name="team",
            options={
                "ordering": ("name",),
                "permissions": (
                    ("lead_team", "Can see and issue the keys of teams that they lead"),
                ),
            },
        ),
    ]
