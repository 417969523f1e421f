"""The table of upstream accounts."""

import django.contrib.postgres.fields
import django.core.validators
import django.utils.timezone
from django.db import migrations, models

import proxy.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="UpstreamAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=50,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9 ._@-]*\\Z",
                                "Begin with a letter or a digit; go on with those, spaces"
                                " and . _ @ -",
                            )
                        ],
                    ),
                ),
                (
                    "credential_source",
                    models.CharField(
                        choices=[
                            ("stored", "Stored here"),
                            ("environment", "The environment: ANTHROPIC_*"),
                        ],
                        default="stored",
                        editable=False,
                        max_length=11,
                    ),
                ),
                (
                    "base_url",
                    models.CharField(
                        blank=True,
                        help_text="Without /v1, such as https://api.anthropic.com.",
                        max_length=300,
                        validators=[proxy.models.validate_base_url],
                        verbose_name="address",
                    ),
                ),
                (
                    "auth",
                    models.CharField(
                        choices=[
                            ("x-api-key", "x-api-key (API keys)"),
                            ("bearer", "Authorization: Bearer (tokens)"),
                        ],
                        default="x-api-key",
                        max_length=9,
                        verbose_name="credential is sent as",
                    ),
                ),
                ("credential", models.TextField(editable=False, null=True)),
                ("credential_hint", models.CharField(blank=True, editable=False, max_length=20)),
                ("credential_set_at", models.DateTimeField(editable=False, null=True)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Lower goes first. Higher numbers are asked when no lower"
                        " one can answer.",
                        validators=[django.core.validators.MaxValueValidator(1000)],
                    ),
                ),
                (
                    "weight",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="Share of the conversations among accounts of the same priority.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                    ),
                ),
                (
                    "concurrency",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Exchanges in flight at once. Empty: unlimited.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1000000000)],
                    ),
                ),
                (
                    "rpm",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Empty: unlimited. 0: nothing passes.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1000000000)],
                        verbose_name="requests a minute",
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("suspended_at", models.DateTimeField(editable=False, null=True)),
                ("suspended_reason", models.CharField(blank=True, editable=False, max_length=300)),
                (
                    "suspended_fingerprint",
                    models.CharField(blank=True, editable=False, max_length=32),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "models",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=100,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "\\A[A-Za-z0-9*][A-Za-z0-9._:@/*-]*\\Z",
                                    "Write a model id or a pattern, such as claude-haiku-*.",
                                )
                            ],
                        ),
                        blank=True,
                        default=list,
                        help_text="Ids or patterns that it serves, such as claude-haiku-*."
                        " Empty: all models.",
                        size=None,
                    ),
                ),
            ],
            options={
                "verbose_name": "upstream account",
                "ordering": ("priority", "name"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("credential_source", "stored"),
                                models.Q(("base_url", ""), _negated=True),
                            ),
                            models.Q(
                                ("base_url", ""),
                                ("credential", None),
                                ("credential_source", "environment"),
                            ),
                            _connector="OR",
                        ),
                        name="upstreamaccount_source",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("credential_source", "environment")),
                        fields=("credential_source",),
                        name="upstreamaccount_one_environment",
                        violation_error_message="There is an account of the environment already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("auth__in", ["x-api-key", "bearer"])),
                        name="upstreamaccount_auth",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weight__gte", 1), ("weight__lte", 1000)),
                        name="upstreamaccount_weight",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__lte", 1000)), name="upstreamaccount_priority"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("concurrency", None), ("concurrency__lte", 1000000000), _connector="OR"
                        ),
                        name="upstreamaccount_concurrency_max",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("rpm", None), ("rpm__lte", 1000000000), _connector="OR"
                        ),
                        name="upstreamaccount_rpm_max",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("suspended_at", None), ("suspended_fingerprint", "")),
                            models.Q(
                                ("suspended_at__isnull", False),
                                models.Q(("suspended_fingerprint", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="upstreamaccount_suspended",
                    ),
                ],
            },
        ),
    ]
