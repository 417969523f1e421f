"""Which operator token issued another, with which it ends."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0011_audit_search")]

    operations = [
        migrations.AddField(
            model_name="operatortoken",
            name="issued_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="issued",
                to="keys.operatortoken",
            ),
        ),
    ]
