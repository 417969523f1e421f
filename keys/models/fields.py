"""Fields that several models share, their bounds and their checks."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from keys.core.access import Hangup, parse_network

# What one minute or one moment of one key can hold is far below; it keeps the scripts' sums exact.
RATE_MAX = 1_000_000_000

RPM_DEFAULT = 60
CONCURRENCY_DEFAULT = 5

# Clients give up on a request that is silent for a minute or two; longer waits would be in vain.
WAIT_S_MAX = 60

# A month of a budget's window must be there when the window is loaded from the ledger.
LEDGER_KEEP_DAYS_MIN = 32
LEDGER_KEEP_DAYS_MAX = 36_500
LEGAL_HOLD_CHARS_MAX = 200

CACHE_TTL_S_DEFAULT = 3600
# A month: an answer that old is about another world.
CACHE_TTL_S_MAX = 30 * 86_400

model_id_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._:@/-]*\Z", "Write a model id, such as claude-haiku-4-5."
)
model_pattern_validator = RegexValidator(
    r"\A[A-Za-z0-9*][A-Za-z0-9._:@/*-]*\Z",
    "Write a model id or a pattern, such as claude-haiku-*.",
)
# In a terminal, a mail's subject or a line of a log these would be more than a name.
name_validator = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]",
    "Leave out line breaks and control characters.",
    inverse_match=True,
)


class NameField(models.CharField):  # type: ignore[type-arg]
    """What people call something: one line of plain text. The column is a `CharField`'s."""

    default_validators = [name_validator]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


def validate_cidr(text: str) -> None:
    """Raise `ValidationError` unless `text` is an address or a network."""
    try:
        parse_network(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def rate_field(**kwargs: Any) -> "models.PositiveBigIntegerField[int | None, int | None]":
    """Requests a minute, or exchanges in flight: empty is unlimited, 0 is nothing."""
    return models.PositiveBigIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(RATE_MAX)], **kwargs
    )


def wait_s_field() -> "models.PositiveSmallIntegerField[int, int]":
    """How long an exchange may wait for a free slot."""
    return models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(WAIT_S_MAX)],
        verbose_name="wait for a slot (seconds)",
        help_text="How long an exchange over the concurrency limit may wait. 0: refuse it at once.",
    )


def hangup_field() -> "models.CharField[str, str]":
    """What becomes of upstream's answer when the client has left."""
    return models.CharField(
        max_length=8,
        choices=[
            (Hangup.ABORT.value, "Abort: stop the upstream call at once"),
            (Hangup.DRAIN.value, "Drain: read on for exact counts"),
        ],
        default=Hangup.ABORT.value,
        verbose_name="when the client hangs up",
    )


def cache_field() -> "models.BooleanField[bool, bool]":
    """Whether a key may be answered from the response cache."""
    return models.BooleanField(
        default=True,
        db_default=True,
        verbose_name="response cache",
        help_text="Answer an identical prompt from the cache, for a tenth of its charge.",
    )


def model_patterns_field() -> "ArrayField[list[str], list[str]]":
    """Which models may be called."""
    return ArrayField(
        models.CharField(max_length=100, validators=[model_pattern_validator]),
        default=list,
        blank=True,
        help_text="Ids or patterns, such as claude-haiku-*. Empty: all models.",
    )
