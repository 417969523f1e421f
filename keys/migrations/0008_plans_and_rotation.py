"""Plans that keys follow, members of teams, a second secret after a rotation, raised budgets.

The release before may go on writing: every new column may be empty or has a default in the
database, and what it stores follows no plan.
"""

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0007_operator_tokens"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="InheritedWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "unit",
                    models.CharField(
                        choices=[("tok", "tokens"), ("usd", "US dollars")], max_length=3
                    ),
                ),
                (
                    "window_s",
                    models.PositiveIntegerField(
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31622400),
                        ],
                        verbose_name="window (seconds)",
                    ),
                ),
                ("reset_at", models.DateTimeField(editable=False, null=True)),
                (
                    "raised_amount",
                    models.PositiveBigIntegerField(
                        editable=False,
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(9007199254740991)],
                    ),
                ),
                ("raised_until", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "lead",
                    models.BooleanField(
                        default=False,
                        help_text="May issue and manage the team's keys within its plan.",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "rpm",
                    models.PositiveBigIntegerField(
                        blank=True,
                        default=60,
                        help_text="Of each key. Empty: unlimited. 0: nothing passes.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1000000000)],
                        verbose_name="requests a minute",
                    ),
                ),
                (
                    "concurrency",
                    models.PositiveBigIntegerField(
                        blank=True,
                        default=5,
                        help_text="Exchanges of each key in flight at once. Empty: unlimited.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(1000000000)],
                    ),
                ),
                (
                    "wait_s",
                    models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How long an exchange over the concurrency limit may wait."
                        " 0: refuse it at once.",
                        validators=[django.core.validators.MaxValueValidator(60)],
                        verbose_name="wait for a slot (seconds)",
                    ),
                ),
                (
                    "cache_enabled",
                    models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text="Answer an identical prompt from the cache,"
                        " for a tenth of its charge.",
                        verbose_name="response cache",
                    ),
                ),
                (
                    "hangup",
                    models.CharField(
                        choices=[
                            ("abort", "Abort: stop the upstream call at once"),
                            ("drain", "Drain: read on for exact counts"),
                        ],
                        default="abort",
                        max_length=8,
                        verbose_name="when the client hangs up",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
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
                        help_text="Ids or patterns, such as claude-haiku-*. Empty: all models.",
                        size=None,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.RemoveConstraint(
            model_name="budget",
            name="budget_one_holder",
        ),
        migrations.AddField(
            model_name="apikey",
            name="inherited",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("rpm", "rpm"),
                        ("concurrency", "concurrency"),
                        ("wait_s", "wait_s"),
                        ("models", "models"),
                        ("cache_enabled", "cache_enabled"),
                        ("hangup", "hangup"),
                    ],
                    max_length=20,
                ),
                blank=True,
                db_default=[],
                default=list,
                help_text="Which fields follow the plan. The others are the key's own.",
                size=None,
                verbose_name="from the plan",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_digest",
            field=models.CharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_expires_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_last_four",
            field=models.CharField(db_default="", default="", editable=False, max_length=4),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_prefix",
            field=models.CharField(db_default="", default="", editable=False, max_length=16),
        ),
        migrations.AddField(
            model_name="budget",
            name="raised_amount",
            field=models.PositiveBigIntegerField(
                editable=False,
                null=True,
                validators=[django.core.validators.MaxValueValidator(9007199254740991)],
            ),
        ),
        migrations.AddField(
            model_name="budget",
            name="raised_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="inheritedwindow",
            name="apikey",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="inherited_windows",
                to="keys.apikey",
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="team",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="keys.team",
            ),
        ),
        migrations.AddField(
            model_name="membership",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(("rpm", None), ("rpm__lte", 1000000000), _connector="OR"),
                name="plan_rpm_max",
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("concurrency", None), ("concurrency__lte", 1000000000), _connector="OR"
                ),
                name="plan_concurrency_max",
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(("hangup__in", ["abort", "drain"])), name="plan_hangup"
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(("wait_s__lte", 60)), name="plan_wait_max"
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                help_text="A change of the plan reaches every key that follows it. Empty: no plan.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="apikeys",
                to="keys.plan",
            ),
        ),
        migrations.AddField(
            model_name="budget",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="budgets",
                to="keys.plan",
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                help_text="The most that a lead of the team may give a key."
                " Empty: leads issue no keys.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="teams",
                to="keys.plan",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("plan__isnull", False), ("inherited", []), _connector="OR"),
                name="apikey_inherits_of_a_plan",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("previous_digest", None), ("previous_expires_at", None)),
                    models.Q(
                        ("previous_digest__isnull", False), ("previous_expires_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="apikey_previous_ends",
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("apikey__isnull", False), ("plan", None), ("team", None)),
                    models.Q(("apikey", None), ("plan", None), ("team__isnull", False)),
                    models.Q(("apikey", None), ("plan__isnull", False), ("team", None)),
                    _connector="OR",
                ),
                name="budget_one_holder",
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                fields=("plan", "unit", "window_s"), name="budget_plan_unit_window"
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("raised_amount", None), ("raised_until", None)),
                    models.Q(
                        ("raised_amount__isnull", False),
                        ("raised_amount__lte", 9007199254740991),
                        ("raised_until__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="budget_raised_until",
            ),
        ),
        migrations.AddConstraint(
            model_name="inheritedwindow",
            constraint=models.UniqueConstraint(
                fields=("apikey", "unit", "window_s"), name="inheritedwindow_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="inheritedwindow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("raised_amount", None), ("raised_until", None)),
                    models.Q(
                        ("raised_amount__isnull", False),
                        ("raised_amount__lte", 9007199254740991),
                        ("raised_until__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="inheritedwindow_raised_until",
            ),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(fields=("team", "user"), name="membership_once"),
        ),
    ]
