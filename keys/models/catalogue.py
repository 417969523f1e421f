"""What the gateway offers, and whether it is open."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from keys.models.fields import CACHE_TTL_S_DEFAULT, CACHE_TTL_S_MAX, model_id_validator


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
