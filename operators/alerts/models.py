"""Alerts that were raised, those who are told, and each telling with its attempts.

Alerts are written by `operators.alerts.raising`, targets by `services`, deliveries by `delivery`.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone

from keys.models import Team
from keys.models.fields import NameField
from operators.alerts.core.rules import Kind, Subject

TEXT_CHARS_MAX = 500
NAME_CHARS_MAX = 100
KINDS = (
    (Kind.BUDGET.value, "Budgets at 50, 75, 90 and 100 %"),
    (Kind.EXPIRING.value, "Keys that expire"),
    (Kind.SPEND.value, "Unusual spend"),
    (Kind.UPSTREAM.value, "Upstream accounts in trouble"),
    (Kind.DRAIN.value, "The ledger is behind"),
)
SUBJECTS = tuple((subject.value, subject.value) for subject in Subject)


class Alert(models.Model):
    """One crossing: a thing that came to be so at `raised_at`, and was over at `resolved_at`."""

    kind = models.CharField(max_length=10, choices=KINDS)
    subject_type = models.CharField(max_length=10, choices=SUBJECTS)
    subject_id = models.BigIntegerField()
    subject_name = models.CharField(max_length=NAME_CHARS_MAX, blank=True)
    team = models.ForeignKey(Team, models.SET_NULL, null=True, related_name="+")
    threshold = models.PositiveSmallIntegerField(help_text="Percent or days; 0: has none.")
    key = models.CharField(max_length=120)
    slot = models.DateTimeField(verbose_name="window")
    text = models.CharField(max_length=TEXT_CHARS_MAX)
    raised_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-raised_at",)
        indexes = (
            # What is open of a kind, at every look.
            models.Index(
                fields=("kind", "subject_id"),
                condition=Q(resolved_at=None),
                name="alert_open",
            ),
            # What is old enough to go.
            models.Index(fields=("raised_at",), name="alert_raised"),
            # The console's list as it is ordered, open ones first: nulls come before all else.
            models.Index(fields=("-resolved_at", "-raised_at", "-id"), name="alert_listed"),
            # The console's search by any part of a name.
            GinIndex(OpClass(Upper("subject_name"), name="gin_trgm_ops"), name="alert_name_parts"),
        )
        constraints = (
            models.UniqueConstraint(fields=("key", "slot"), name="alert_once_a_window"),
            models.UniqueConstraint(
                fields=("key",), condition=Q(resolved_at=None), name="alert_one_open"
            ),
        )

    def __str__(self) -> str:
        return self.text


class Channel(models.TextChoices):
    """How a target is reached."""

    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"


class AlertTarget(models.Model):
    """Someone who is told. A webhook's secret is sealed as upstream credentials are.

    Without `kinds` it is told of all; with a `team`, of what belongs to the team alone, and it goes
    when the team is deleted.
    """

    name = NameField(max_length=100, unique=True)
    channel = models.CharField(max_length=10, choices=Channel.choices)
    address = models.CharField(
        max_length=500, help_text="An e-mail address, or the https address of a webhook."
    )
    secret = models.TextField(blank=True, editable=False)
    kinds = ArrayField(
        models.CharField(max_length=10, choices=KINDS),
        default=list,
        blank=True,
        help_text="None ticked: all.",
    )
    team = models.ForeignKey(
        Team, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: all."
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "alert target"
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(channel=Channel.EMAIL, secret="")
                | Q(channel=Channel.WEBHOOK) & ~Q(secret=""),
                name="alerttarget_secret",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def masked(self) -> str:
        """What may be shown to everybody: paths of webhooks are often secrets themselves."""
        if self.channel == Channel.EMAIL:
            return self.address
        scheme, _, rest = self.address.partition("://")
        return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"

    def clean(self) -> None:
        if any(kind not in dict(KINDS) for kind in self.kinds):
            raise ValidationError({"kinds": "There is no such kind."})


class Event(models.TextChoices):
    """What of an alert is told."""

    RAISED = "raised", "Raised"
    RESOLVED = "resolved", "Over"


class AlertDelivery(models.Model):
    """One alert on its way to one target. Waiting until `next_at`; delivered or dead in the end.

    That it is over waits until it was delivered that it is so.
    """

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="deliveries")
    target = models.ForeignKey(AlertTarget, models.CASCADE, related_name="deliveries")
    event = models.CharField(
        max_length=8,
        choices=Event.choices,
        default=Event.RAISED.value,
        db_default=Event.RAISED.value,
        verbose_name="tells that it is",
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    delivered_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "delivery"
        verbose_name_plural = "deliveries"
        ordering = ("-id",)
        permissions = (("replay_alertdelivery", "Can send what was given up again"),)
        indexes = (
            # What is due.
            models.Index(
                fields=("next_at",), condition=Q(next_at__isnull=False), name="alertdelivery_due"
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("alert", "target", "event"), name="alertdelivery_once_an_event"
            ),
            models.CheckConstraint(
                condition=Q(next_at__isnull=False, delivered_at=None, dead_at=None)
                | Q(next_at=None, delivered_at__isnull=False, dead_at=None)
                | Q(next_at=None, delivered_at=None, dead_at__isnull=False),
                name="alertdelivery_one_state",
            ),
        )

    def __str__(self) -> str:
        return f"{self.alert_id} to {self.target_id}"

    @property
    def state(self) -> str:
        """In one word: waiting, delivered or dead."""
        if self.delivered_at is not None:
            return "delivered"
        return "dead" if self.dead_at is not None else "waiting"
