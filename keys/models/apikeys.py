"""API keys: ours, given to developers."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone

from keys.core.access import Hangup, KeyStatus
from keys.core.terms import INHERITABLE
from keys.models.fields import (
    CONCURRENCY_DEFAULT,
    RATE_MAX,
    RPM_DEFAULT,
    WAIT_S_MAX,
    NameField,
    cache_field,
    hangup_field,
    model_patterns_field,
    rate_field,
    validate_cidr,
    wait_s_field,
)
from keys.models.plans import Plan
from keys.models.teams import Team


class ApiKey(models.Model):
    """One key of ours. The secret is not here: only its digest, and enough of it to recognise it.

    With a `plan`, each field named in `inherited` follows the plan and the key's own value sleeps;
    without one, `inherited` is empty. After a rotation the secret before works until
    `previous_expires_at`, known by `previous_digest`.

    `scope_generation` moves when the key changes teams, so that windows left behind on another
    shard are never read again; `cache_generation` then and at a purge, for what was stored.
    """

    name = NameField(max_length=100)
    team = models.ForeignKey(
        Team, on_delete=models.PROTECT, null=True, blank=True, related_name="apikeys"
    )
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="apikeys",
        help_text="A change of the plan reaches every key that follows it. Empty: no plan.",
    )
    inherited = ArrayField(
        models.CharField(max_length=20, choices=[(name, name) for name in INHERITABLE]),
        default=list,
        db_default=[],
        blank=True,
        verbose_name="from the plan",
        help_text="Which fields follow the plan. The others are the key's own.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="apikeys",
    )
    prefix = models.CharField(max_length=16, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    # Unique, so its index serves the gateway's load of a key it has not seen.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_prefix = models.CharField(max_length=16, default="", db_default="", editable=False)
    previous_last_four = models.CharField(max_length=4, default="", db_default="", editable=False)
    # Unique for the same look-up: after a rotation both secrets may come.
    previous_digest = models.CharField(max_length=64, null=True, unique=True, editable=False)
    previous_expires_at = models.DateTimeField(null=True, editable=False)
    rpm = rate_field(
        default=RPM_DEFAULT,
        verbose_name="requests a minute",
        help_text="Empty: unlimited. 0: nothing passes.",
    )
    concurrency = rate_field(
        default=CONCURRENCY_DEFAULT, help_text="Exchanges in flight at once. Empty: unlimited."
    )
    cidrs = ArrayField(
        models.CharField(max_length=49, validators=[validate_cidr]),
        default=list,
        blank=True,
        verbose_name="allowed addresses",
        help_text="Addresses or networks such as 10.0.0.0/8. Empty: any address.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    disabled_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    hangup = hangup_field()
    wait_s = wait_s_field()
    cache_enabled = cache_field()
    during_maintenance = models.BooleanField(
        default=False,
        db_default=False,
        verbose_name="let through during maintenance",
        help_text="For keys that operators test with.",
    )
    scope_generation = models.PositiveIntegerField(default=0, editable=False)
    cache_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="apikeys_created",
    )
    # Last of the fields: from here to the end of the class the name hides Django's module.
    models = model_patterns_field()

    class Meta:
        verbose_name = "API key"
        ordering = ("-id",)
        indexes = (
            # `ledger_export --key PREFIX` and the admin's search by what a developer reads out.
            models.Index(fields=("prefix",), name="apikey_prefix"),
            # The console's search: by any part of a name, and by what is shown of a secret.
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="apikey_name_parts"),
            models.Index(fields=("last_four",), name="apikey_last_four"),
            # The console's filters by what few keys are.
            models.Index(
                fields=("-id",), condition=Q(disabled_at__isnull=False), name="apikey_disabled"
            ),
            models.Index(
                fields=("-id",), condition=Q(revoked_at__isnull=False), name="apikey_revoked"
            ),
            # The console's home and filter: what expires soon. Few keys that live expire at all.
            models.Index(
                fields=("expires_at",),
                condition=Q(revoked_at=None, expires_at__isnull=False),
                name="apikey_expiring",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(rpm=None) | Q(rpm__lte=RATE_MAX), name="apikey_rpm_max"
            ),
            models.CheckConstraint(
                condition=Q(concurrency=None) | Q(concurrency__lte=RATE_MAX),
                name="apikey_concurrency_max",
            ),
            models.CheckConstraint(
                condition=Q(hangup__in=[hangup.value for hangup in Hangup]), name="apikey_hangup"
            ),
            models.CheckConstraint(condition=Q(wait_s__lte=WAIT_S_MAX), name="apikey_wait_max"),
            models.CheckConstraint(
                condition=Q(plan__isnull=False) | Q(inherited=[]), name="apikey_inherits_of_a_plan"
            ),
            models.CheckConstraint(
                condition=Q(previous_digest=None, previous_expires_at=None)
                | Q(previous_digest__isnull=False, previous_expires_at__isnull=False),
                name="apikey_previous_ends",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        """What may be shown of the secret: `sk-cc-AbC123…wxyz`."""
        return f"{self.prefix}…{self.last_four}"

    @property
    def digests(self) -> list[str]:
        """By what gateways may know the key: its digest, and that of the secret before."""
        return (
            [self.digest] if self.previous_digest is None else [self.digest, self.previous_digest]
        )

    @property
    def status(self) -> KeyStatus:
        """The state of the key's life, by this machine's clock."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return KeyStatus.EXPIRED
        return KeyStatus.DISABLED if self.disabled_at is not None else KeyStatus.ACTIVE
