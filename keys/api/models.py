"""What the management API stores: operator tokens, and the answers it gave to writes.

Writes to tokens go through `keys.api.tokens`; `keys.api.idempotency` alone keeps answers.
"""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from keys.models.fields import NameField

NAME_LENGTH_MAX = 60
IDEMPOTENCY_KEY_LENGTH_MAX = 200


class OperatorToken(models.Model):
    """A token by which a program manages the gateway. The secret is not here, only its digest.

    `created_by` is `None` when a command made it: whoever can run commands may do everything. The
    token of a person ends with their account, and is worth no more than their permissions. One that
    a token issued over the API has its `issued_by`, and ends with it.
    """

    name = NameField(max_length=NAME_LENGTH_MAX)
    prefix = models.CharField(max_length=16, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    # Unique, so its index serves authentication.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=30))
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="operator_tokens",
    )
    issued_by = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, editable=False, related_name="issued"
    )

    class Meta:
        verbose_name = "operator token"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        """What may be shown of the secret: `cc-op-AbC123…wxyz`."""
        return f"{self.prefix}…{self.last_four}"

    @property
    def live(self) -> bool:
        """Whether it is neither revoked nor expired, by this machine's clock."""
        if self.revoked_at is not None:
            return False
        return self.expires_at is None or self.expires_at > timezone.now()

    @property
    def status(self) -> str:
        """`live`, `revoked` or `expired`."""
        if self.live:
            return "live"
        return "expired" if self.revoked_at is None else "revoked"


class IdempotentAnswer(models.Model):
    """What a write with an `Idempotency-Key` was answered. Written in the write's transaction, so
    there is one exactly when the write took place. No secret is ever in `content`.
    """

    token = models.ForeignKey(OperatorToken, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=IDEMPOTENCY_KEY_LENGTH_MAX)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    content: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = (
            # The removal of old answers.
            models.Index(fields=("created_at",), name="idempotentanswer_created"),
        )
        constraints = (
            models.UniqueConstraint(fields=("token", "key"), name="idempotentanswer_once"),
        )

    def __str__(self) -> str:
        return f"{self.key} of token {self.token_id}"
