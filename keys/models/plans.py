"""Plans: templates of limits that many keys follow at once."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from keys.core.access import Hangup
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
    wait_s_field,
)


class Plan(models.Model):
    """Limits that keys follow: a change reaches all of them. Its budgets hold for each key apart.

    What a key does not follow is its own; `ApiKey.inherited` says which is which.
    """

    name = NameField(max_length=100, unique=True)
    rpm = rate_field(
        default=RPM_DEFAULT,
        verbose_name="requests a minute",
        help_text="Of each key. Empty: unlimited. 0: nothing passes.",
    )
    concurrency = rate_field(
        default=CONCURRENCY_DEFAULT,
        help_text="Exchanges of each key in flight at once. Empty: unlimited.",
    )
    wait_s = wait_s_field()
    cache_enabled = cache_field()
    hangup = hangup_field()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Last of the fields: from here to the end of the class the name hides Django's module.
    models = model_patterns_field()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(rpm=None) | Q(rpm__lte=RATE_MAX), name="plan_rpm_max"
            ),
            models.CheckConstraint(
                condition=Q(concurrency=None) | Q(concurrency__lte=RATE_MAX),
                name="plan_concurrency_max",
            ),
            models.CheckConstraint(
                condition=Q(hangup__in=[hangup.value for hangup in Hangup]), name="plan_hangup"
            ),
            models.CheckConstraint(condition=Q(wait_s__lte=WAIT_S_MAX), name="plan_wait_max"),
        )

    def __str__(self) -> str:
        return self.name
