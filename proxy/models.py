"""Upstream accounts, as the control plane stores them.

Writes go through `proxy.services`; `proxy.accounts` alone turns these rows into what the gateway
obeys. Cooldowns are not here: they last seconds, and all gateways share them in Valkey.
"""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from keys.models import RATE_MAX, model_pattern_validator
from proxy.core.account import BadAddress, parse_base_url

PRIORITY_DEFAULT = 10
PRIORITY_MAX = 1000
WEIGHT_MAX = 1000

# Ledger rows and Valkey's names hold it, so it is short and plain.
account_name_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9 ._@-]*\Z",
    "Begin with a letter or a digit; go on with those, spaces and . _ @ -",
)


class Source(models.TextChoices):
    """Where an account's address and credential come from."""

    STORED = "stored", "Stored here"
    ENVIRONMENT = "environment", "The environment: ANTHROPIC_*"


class Auth(models.TextChoices):
    """How a credential is sent."""

    X_API_KEY = "x-api-key", "x-api-key (API keys)"
    BEARER = "bearer", "Authorization: Bearer (tokens)"


def validate_base_url(text: str) -> None:
    """Raise `ValidationError` unless exchanges can be sent to `text`."""
    try:
        parse_base_url(text)
    except BadAddress as error:
        raise ValidationError(str(error)) from error


def _rate_field(**kwargs: str) -> "models.PositiveBigIntegerField[int | None, int | None]":
    return models.PositiveBigIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(RATE_MAX)], **kwargs
    )


class UpstreamAccount(models.Model):
    """One Anthropic-compatible account that exchanges are sent to.

    The credential is sealed (`proxy.credentials`); `credential_hint` is what may be shown of it.
    An account of the environment stores neither address nor credential: ANTHROPIC_BASE_URL,
    ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are read at each start.

    `suspended_*` say that upstream refused the credential. They hold for the address and the
    credential of `suspended_fingerprint` alone: with another one the account is tried again.
    """

    name = models.CharField(max_length=50, unique=True, validators=[account_name_validator])
    credential_source = models.CharField(
        max_length=11, choices=Source.choices, default=Source.STORED, editable=False
    )
    base_url = models.CharField(
        max_length=300,
        blank=True,
        verbose_name="address",
        validators=[validate_base_url],
        help_text="Without /v1, such as https://api.anthropic.com.",
    )
    auth = models.CharField(
        max_length=9,
        choices=Auth.choices,
        default=Auth.X_API_KEY,
        verbose_name="credential is sent as",
    )
    credential = models.TextField(null=True, editable=False)
    credential_hint = models.CharField(max_length=20, blank=True, editable=False)
    credential_set_at = models.DateTimeField(null=True, editable=False)
    priority = models.PositiveSmallIntegerField(
        default=PRIORITY_DEFAULT,
        validators=[MaxValueValidator(PRIORITY_MAX)],
        help_text="Lower goes first. Higher numbers are asked when no lower one can answer.",
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(WEIGHT_MAX)],
        help_text="Share of the conversations among accounts of the same priority.",
    )
    concurrency = _rate_field(help_text="Exchanges in flight at once. Empty: unlimited.")
    rpm = _rate_field(
        verbose_name="requests a minute", help_text="Empty: unlimited. 0: nothing passes."
    )
    enabled = models.BooleanField(default=True)
    suspended_at = models.DateTimeField(null=True, editable=False)
    suspended_reason = models.CharField(max_length=300, blank=True, editable=False)
    suspended_fingerprint = models.CharField(max_length=32, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    # Last of the fields: from here to the end of the class the name hides Django's module.
    models = ArrayField(
        models.CharField(max_length=100, validators=[model_pattern_validator]),
        default=list,
        blank=True,
        help_text="Ids or patterns that it serves, such as claude-haiku-*. Empty: all models.",
    )

    class Meta:
        verbose_name = "upstream account"
        ordering = ("priority", "name")
        permissions = (("operate_upstreamaccount", "Can test, enable and disable accounts"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(credential_source=Source.STORED) & ~Q(base_url="")
                | Q(credential_source=Source.ENVIRONMENT, base_url="", credential=None),
                name="upstreamaccount_source",
            ),
            models.UniqueConstraint(
                fields=("credential_source",),
                condition=Q(credential_source=Source.ENVIRONMENT),
                name="upstreamaccount_one_environment",
                violation_error_message="There is an account of the environment already.",
            ),
            models.CheckConstraint(condition=Q(auth__in=Auth.values), name="upstreamaccount_auth"),
            models.CheckConstraint(
                condition=Q(weight__gte=1, weight__lte=WEIGHT_MAX), name="upstreamaccount_weight"
            ),
            models.CheckConstraint(
                condition=Q(priority__lte=PRIORITY_MAX), name="upstreamaccount_priority"
            ),
            models.CheckConstraint(
                condition=Q(concurrency=None) | Q(concurrency__lte=RATE_MAX),
                name="upstreamaccount_concurrency_max",
            ),
            models.CheckConstraint(
                condition=Q(rpm=None) | Q(rpm__lte=RATE_MAX), name="upstreamaccount_rpm_max"
            ),
            models.CheckConstraint(
                condition=Q(suspended_at=None, suspended_fingerprint="")
                | Q(suspended_at__isnull=False) & ~Q(suspended_fingerprint=""),
                name="upstreamaccount_suspended",
            ),
        )

    def __str__(self) -> str:
        return self.name
