"""How long a team's exchanges stay in the ledger, and what forbids to drop any."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keys", "0012_tokens_of_tokens")]

    operations = [
        migrations.AddField(
            model_name="team",
            name="ledger_keep_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text=(
                    "How long single exchanges are kept at least; a month more at most. Sums"
                    " stay. Empty: as long as everybody's."
                ),
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(32),
                    django.core.validators.MaxValueValidator(36500),
                ],
                verbose_name="keep in the ledger (days)",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="legal_hold",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Why nothing of this team may leave the ledger. Empty: no hold.",
                max_length=200,
            ),
        ),
    ]
