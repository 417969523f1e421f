"""Switches of the response cache, waiting for a slot, keys let through during maintenance.

The release before may go on writing: every column has a default in the database.
"""

import django.core.validators
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0003_audit_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="cache_enabled",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Answer an identical prompt from the cache, for a tenth of its charge.",
                verbose_name="response cache",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="cache_generation",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="during_maintenance",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="For keys that operators test with.",
                verbose_name="let through during maintenance",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="wait_s",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="How long an exchange over the concurrency limit may wait."
                " 0: refuse it at once.",
                validators=[django.core.validators.MaxValueValidator(60)],
                verbose_name="wait for a slot (seconds)",
            ),
        ),
        migrations.AddField(
            model_name="claudemodel",
            name="cache_ttl_s",
            field=models.PositiveIntegerField(
                db_default=3600,
                default=3600,
                help_text="How long an answer to a short prompt is kept; longer prompts keep"
                " theirs longer. 0: answers of this model are never kept.",
                validators=[django.core.validators.MaxValueValidator(2592000)],
                verbose_name="cache lifetime (seconds)",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="cache_enabled",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Off: no key of the team is answered from the cache.",
                verbose_name="response cache",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="cache_generation",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="team",
            name="cache_shared",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="On: what one key of the team was answered can answer any other of them.",
                verbose_name="shared response cache",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("wait_s__lte", 60)), name="apikey_wait_max"
            ),
        ),
    ]
