"""The ledger, and the events that could not become a part of it.

Only `usage.ledger` writes them. Ledger rows point at keys and teams without a constraint of the
database: an event must never be refused because of what it points at, and `PROTECT` keeps Django
from deleting that anyway.
"""

from django.db import models
from django.db.models import Q

from keys.models import ApiKey, Team
from usage.core.event import CacheOutcome, ExchangeStatus
from usage.models.columns import (
    CHARGES,
    EARLIEST,
    LATEST,
    SAVINGS,
    TEXT_CHARS_MAX,
    ledger_key,
    text_field,
)


class LedgerEntry(models.Model):
    """One exchange: who, when, what, how it ended, every kind of token, what it cost.

    Never changed once written, but for an abandoned one that its late settlement replaces. Times
    in milliseconds count from `admitted_at`; `estimated` says that counts are ours. `attempts` are
    the accounts that were asked, `null` when that is not known. What has a default in the database
    was added later: the release before goes on writing while this one is rolled out.
    """

    exchange_id = models.UUIDField(primary_key=True)
    apikey = ledger_key(ApiKey)
    team = ledger_key(Team, null=True)
    admitted_at = models.DateTimeField()
    settled_at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in ExchangeStatus])
    http_status = models.IntegerField()
    error_type = text_field()
    model_requested = text_field()
    model_answered = text_field()
    streamed = models.BooleanField()
    upstream = text_field()
    upstream_request_id = text_field()
    client_address = text_field()
    client_agent = text_field()
    session_id = text_field()
    agent_id = text_field()
    parent_agent_id = text_field()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    inference_geo = text_field()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()
    estimated = models.BooleanField()
    input_tokens_estimate = models.BigIntegerField()
    cost_nanousd_estimate = models.BigIntegerField()
    first_byte_ms = models.BigIntegerField(null=True)
    total_ms = models.BigIntegerField()
    anchors = models.JSONField(null=True)
    attempts = models.JSONField(null=True)
    cache = models.CharField(
        max_length=8,
        choices=[(c.value, c.value) for c in CacheOutcome],
        db_default=CacheOutcome.BYPASS.value,
    )
    cache_source = models.CharField(max_length=TEXT_CHARS_MAX, blank=True, db_default="")
    saved_tokens = models.BigIntegerField(db_default=0)
    saved_nanousd = models.BigIntegerField(db_default=0)

    class Meta:
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger"
        ordering = ("-settled_at",)
        indexes = (
            # The admin's list and an export of everything since an instant.
            models.Index(fields=("settled_at",), name="ledgerentry_settled"),
            # The admin's filter for trouble, which is rare.
            models.Index(
                fields=("settled_at",),
                condition=~Q(status=ExchangeStatus.COMPLETED.value),
                name="ledgerentry_trouble",
            ),
            # Its filter for one kind of trouble, of which there may be none.
            models.Index(
                fields=("status", "settled_at"),
                condition=~Q(status=ExchangeStatus.COMPLETED.value),
                name="ledgerentry_status_settled",
            ),
            # Cold start of a key's or a team's windows, out of the index alone; what one key did.
            models.Index(
                fields=("apikey", "settled_at"),
                include=("charged_tokens", "cost_nanousd"),
                name="ledgerentry_apikey_settled",
            ),
            models.Index(
                fields=("team", "settled_at"),
                include=("charged_tokens", "cost_nanousd"),
                name="ledgerentry_team_settled",
            ),
            # Cold start of anchored windows: the newest entry that names one.
            models.Index(
                fields=("apikey", "-settled_at"),
                condition=Q(anchors__isnull=False),
                name="ledgerentry_apikey_anchors",
            ),
            models.Index(
                fields=("team", "-settled_at"),
                condition=Q(anchors__isnull=False, team__isnull=False),
                name="ledgerentry_team_anchors",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in ExchangeStatus]),
                name="ledgerentry_status",
            ),
            models.CheckConstraint(
                condition=Q(**{f"{amount}__gte": 0 for amount in CHARGES}),
                name="ledgerentry_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(**{f"{amount}__gte": 0 for amount in SAVINGS}),
                name="ledgerentry_savings_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(cache__in=[c.value for c in CacheOutcome]), name="ledgerentry_cache"
            ),
            models.CheckConstraint(
                condition=Q(admitted_at__range=(EARLIEST, LATEST)),
                name="ledgerentry_admitted_at_of_our_time",
            ),
            models.CheckConstraint(
                condition=Q(settled_at__range=(EARLIEST, LATEST)),
                name="ledgerentry_settled_at_of_our_time",
            ),
        )

    def __str__(self) -> str:
        return self.request_id

    @property
    def request_id(self) -> str:
        """The `request-id` that the client was told."""
        return f"req_{self.exchange_id.hex}"


class DeadLetter(models.Model):
    """An event that could not become a ledger entry: its fields as they came, and why."""

    shard = models.PositiveSmallIntegerField()
    stream_id = models.CharField(max_length=50)
    fields = models.JSONField()
    error = models.TextField()
    found_at = models.DateTimeField()

    class Meta:
        verbose_name = "dead letter"
        ordering = ("-id",)
        constraints = (
            # A drain that is run again finds it again; it is one letter.
            models.UniqueConstraint(fields=("shard", "stream_id"), name="deadletter_event"),
        )

    def __str__(self) -> str:
        return f"{self.stream_id} on shard {self.shard}"


class LedgerFloor(models.Model):
    """Up to which settlement entries of a team were dropped by retention; team 0 is none.

    Roll-ups keep what was dropped, so only what begins later can be compared or added up again.
    """

    team_id = models.BigIntegerField(primary_key=True)
    settled_at = models.DateTimeField()
