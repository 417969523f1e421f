"""Who may call, as the control plane stores it: teams, keys, budgets, models, the audit trail.

Writes go through `keys.services`; `keys.policy` alone turns these rows into what the gateway obeys.

Every limit field reads the same: empty is unlimited, 0 is nothing, n is n.
"""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

# Django finds the models of an app here.
from keys.api.models import IdempotentAnswer as IdempotentAnswer
from keys.api.models import OperatorToken as OperatorToken
from keys.core.access import Hangup, KeyStatus, parse_network
from keys.core.budget import WINDOW_S_MAX, format_amount, format_window
from keys.core.limits import AMOUNT_MAX, Unit

# What one minute or one moment of one key can hold is far below; it keeps the scripts' sums exact.
RATE_MAX = 1_000_000_000

RPM_DEFAULT = 60
CONCURRENCY_DEFAULT = 5

# Clients give up on a request that is silent for a minute or two; longer waits would be in vain.
WAIT_S_MAX = 60

CACHE_TTL_S_DEFAULT = 3600
# A month: an answer that old is about another world.
CACHE_TTL_S_MAX = 30 * 86_400

_AMOUNT_VALIDATORS = [MaxValueValidator(AMOUNT_MAX)]
_RATE_VALIDATORS = [MaxValueValidator(RATE_MAX)]

model_id_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._:@/-]*\Z", "Write a model id, such as claude-haiku-4-5."
)
model_pattern_validator = RegexValidator(
    r"\A[A-Za-z0-9*][A-Za-z0-9._:@/*-]*\Z",
    "Write a model id or a pattern, such as claude-haiku-*.",
)


def validate_cidr(text: str) -> None:
    """Raise `ValidationError` unless `text` is an address or a network."""
    try:
        parse_network(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _rate_field(**kwargs: Any) -> "models.PositiveBigIntegerField[int | None, int | None]":
    return models.PositiveBigIntegerField(
        null=True, blank=True, validators=_RATE_VALIDATORS, **kwargs
    )


class Team(models.Model):
    """A group of keys with limits over all of them together, on top of each key's own.

    `cache_generation` moves when sharing is switched and at a purge: what its keys had stored
    together is never read again.
    """

    name = models.CharField(max_length=100, unique=True)
    rpm = _rate_field(
        verbose_name="requests a minute", help_text="Empty: unlimited. 0: nothing passes."
    )
    concurrency = _rate_field(help_text="Exchanges in flight at once. Empty: unlimited.")
    cache_enabled = models.BooleanField(
        default=True,
        db_default=True,
        verbose_name="response cache",
        help_text="Off: no key of the team is answered from the cache.",
    )
    cache_shared = models.BooleanField(
        default=False,
        db_default=False,
        verbose_name="shared response cache",
        help_text="On: what one key of the team was answered can answer any other of them.",
    )
    scope_generation = models.PositiveIntegerField(default=0, editable=False)
    cache_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        permissions = (("lead_team", "Can see and issue the keys of teams that they lead"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(rpm=None) | Q(rpm__lte=RATE_MAX), name="team_rpm_max"
            ),
            models.CheckConstraint(
                condition=Q(concurrency=None) | Q(concurrency__lte=RATE_MAX),
                name="team_concurrency_max",
            ),
        )

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """One key of ours. The secret is not here: only its digest, and enough of it to recognise it.

    `scope_generation` moves when the key changes teams, so that windows left behind on another
    shard are never read again; `cache_generation` then and at a purge, for what was stored.
    """

    name = models.CharField(max_length=100)
    team = models.ForeignKey(
        Team, on_delete=models.PROTECT, null=True, blank=True, related_name="apikeys"
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
    rpm = _rate_field(
        default=RPM_DEFAULT,
        verbose_name="requests a minute",
        help_text="Empty: unlimited. 0: nothing passes.",
    )
    concurrency = _rate_field(
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
    hangup = models.CharField(
        max_length=8,
        choices=[
            (Hangup.ABORT.value, "Abort: stop the upstream call at once"),
            (Hangup.DRAIN.value, "Drain: read on for exact counts"),
        ],
        default=Hangup.ABORT.value,
        verbose_name="when the client hangs up",
    )
    wait_s = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(WAIT_S_MAX)],
        verbose_name="wait for a slot (seconds)",
        help_text="How long an exchange over the concurrency limit may wait. 0: refuse it at once.",
    )
    cache_enabled = models.BooleanField(
        default=True,
        db_default=True,
        verbose_name="response cache",
        help_text="Answer an identical prompt from the cache, for a tenth of its charge.",
    )
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
    models = ArrayField(
        models.CharField(max_length=100, validators=[model_pattern_validator]),
        default=list,
        blank=True,
        help_text="Ids or patterns, such as claude-haiku-*. Empty: all models.",
    )

    class Meta:
        verbose_name = "API key"
        ordering = ("-id",)
        indexes = (
            # `ledger_export --key PREFIX` and the admin's search by what a developer reads out.
            models.Index(fields=("prefix",), name="apikey_prefix"),
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
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        """What may be shown of the secret: `sk-cc-AbC123…wxyz`."""
        return f"{self.prefix}…{self.last_four}"

    @property
    def status(self) -> KeyStatus:
        """The state of the key's life, by this machine's clock."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return KeyStatus.EXPIRED
        return KeyStatus.DISABLED if self.disabled_at is not None else KeyStatus.ACTIVE


class Budget(models.Model):
    """At most `limit_amount` tokens or nano-dollars of a key or a team in any `window_s` seconds.

    `reset_at` is when an operator last emptied the window: uses before it no longer count.
    """

    apikey = models.ForeignKey(
        ApiKey, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    team = models.ForeignKey(
        Team, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    unit = models.CharField(
        max_length=3, choices=[(Unit.TOKENS.value, "tokens"), (Unit.NANOUSD.value, "US dollars")]
    )
    window_s = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(WINDOW_S_MAX)],
        verbose_name="window (seconds)",
    )
    limit_amount = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=_AMOUNT_VALIDATORS,
        verbose_name="limit",
        help_text="Tokens or nano-dollars. Empty: unlimited. 0: nothing passes.",
    )
    strict = models.BooleanField(
        default=False, help_text="Hold the worst case beforehand, so the limit is never exceeded."
    )
    anchored = models.BooleanField(
        default=False, help_text="Start the window at its first use and empty it all at once."
    )
    reset_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(apikey=None, team__isnull=False) | Q(apikey__isnull=False, team=None),
                name="budget_one_holder",
            ),
            models.CheckConstraint(
                condition=Q(unit__in=[Unit.TOKENS.value, Unit.NANOUSD.value]), name="budget_unit"
            ),
            models.CheckConstraint(
                condition=Q(window_s__gte=1, window_s__lte=WINDOW_S_MAX), name="budget_window"
            ),
            models.CheckConstraint(
                condition=Q(limit_amount=None) | Q(limit_amount__lte=AMOUNT_MAX),
                name="budget_limit_max",
            ),
            # Their indexes also serve the load of a policy: all budgets of a key or a team.
            models.UniqueConstraint(
                fields=("apikey", "unit", "window_s"), name="budget_apikey_unit_window"
            ),
            models.UniqueConstraint(
                fields=("team", "unit", "window_s"), name="budget_team_unit_window"
            ),
        )

    def __str__(self) -> str:
        amount = format_amount(Unit(self.unit), self.limit_amount)
        return f"{amount} / {format_window(self.window_s)}"


class ClaudeModel(models.Model):
    """One model the gateway offers. A model that is not here, or not enabled, is refused."""

    model_id = models.CharField(
        max_length=100,
        unique=True,
        validators=[model_id_validator],
        help_text="As clients name it, without a date: claude-haiku-4-5.",
    )
    display_name = models.CharField(max_length=100)
    released_at = models.DateTimeField(help_text="What the models list prints as created_at.")
    context_window_tokens = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="No request's input can be longer."
    )
    output_tokens_max = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    cache_ttl_s = models.PositiveIntegerField(
        default=CACHE_TTL_S_DEFAULT,
        db_default=CACHE_TTL_S_DEFAULT,
        validators=[MaxValueValidator(CACHE_TTL_S_MAX)],
        verbose_name="cache lifetime (seconds)",
        help_text="How long an answer to a short prompt is kept; longer prompts keep theirs longer."
        " 0: answers of this model are never kept.",
    )
    enabled = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order in lists.")

    class Meta:
        verbose_name = "model"
        ordering = ("position", "model_id")

    def __str__(self) -> str:
        return self.model_id


class Maintenance(models.Model):
    """Whether the gateway answers 503 to everything under `/v1`, but to start-up probes and keys
    that are let through. There is one row.
    """

    SINGLETON_ID = 1

    enabled = models.BooleanField(default=False)
    message = models.CharField(
        max_length=300, default="The gateway is under maintenance.", help_text="Clients read this."
    )
    retry_after_s = models.PositiveIntegerField(
        default=300,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        verbose_name="retry after (seconds)",
    )

    class Meta:
        verbose_name = "maintenance mode"
        verbose_name_plural = "maintenance mode"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="maintenance_one_row"),)

    def __str__(self) -> str:
        return f"Maintenance is {'on' if self.enabled else 'off'}"


class AuditEvent(models.Model):
    """Who changed what, when and from where. Rows are only ever added; the database sees to it.

    `actor_name` outlives the account. `detail` never holds a secret.
    """

    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=50)
    target_type = models.CharField(max_length=30)
    target_id = models.BigIntegerField()
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        # Newest first by the primary key: pages come from its index, without a sort.
        ordering = ("-id",)
        indexes = (
            # The history of one key, team or model.
            models.Index(fields=("target_type", "target_id", "-id"), name="auditevent_target"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target_type} {self.target_id} by {self.actor_name}"
