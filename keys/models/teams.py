"""Teams: groups of keys with limits over all of them together, and the people in them."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from keys.models.fields import (
    LEDGER_KEEP_DAYS_MAX,
    LEDGER_KEEP_DAYS_MIN,
    LEGAL_HOLD_CHARS_MAX,
    RATE_MAX,
    NameField,
    rate_field,
)
from keys.models.plans import Plan


class Team(models.Model):
    """A group of keys with limits over all of them together, on top of each key's own.

    `cache_generation` moves when sharing is switched and at a purge: what its keys had stored
    together is never read again.
    """

    name = NameField(max_length=100, unique=True)
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="teams",
        help_text="The most that a lead of the team may give a key. Empty: leads issue no keys.",
    )
    rpm = rate_field(
        verbose_name="requests a minute", help_text="Empty: unlimited. 0: nothing passes."
    )
    concurrency = rate_field(help_text="Exchanges in flight at once. Empty: unlimited.")
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
    ledger_keep_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(LEDGER_KEEP_DAYS_MIN),
            MaxValueValidator(LEDGER_KEEP_DAYS_MAX),
        ],
        verbose_name="keep in the ledger (days)",
        help_text="How long single exchanges are kept at least; a month more at most. Sums stay."
        " Empty: as long as everybody's.",
    )
    legal_hold = models.CharField(
        max_length=LEGAL_HOLD_CHARS_MAX,
        blank=True,
        default="",
        db_default="",
        help_text="Why nothing of this team may leave the ledger. Empty: no hold.",
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


class Membership(models.Model):
    """One person in one team. A lead may issue and manage the team's keys within its plan."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    lead = models.BooleanField(
        default=False, help_text="May issue and manage the team's keys within its plan."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("team", "user"), name="membership_once"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.team}{', who leads it' if self.lead else ''}"
