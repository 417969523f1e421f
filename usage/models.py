"""What was used and what it cost, as rows: the ledger, its hourly roll-up, prices, dead letters.

Only `usage.ledger` writes ledger and roll-up. Ledger rows point at keys and teams without a
constraint of the database: an event must never be refused because of what it points at, and
`PROTECT` keeps Django from deleting that anyway.
"""

import datetime as dt
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from keys.models import ApiKey, ClaudeModel, Team
from usage.core.event import CacheOutcome, ExchangeStatus

# Longer text from clients or upstream is cut: an index entry must stay below 2,704 bytes.
TEXT_CHARS_MAX = 200
# An event of another time than ours is malformed, and Python has no year 10,000.
EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

TOKEN_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
)
CHARGES = (*TOKEN_COUNTS, "web_search_requests", "charged_tokens", "cost_nanousd")
SAVINGS = ("saved_tokens", "saved_nanousd")
AMOUNTS = (*CHARGES, *SAVINGS)


def _text_field() -> "models.CharField[str, str]":
    return models.CharField(max_length=TEXT_CHARS_MAX, blank=True)


def _ledger_key(to: type[models.Model], *, null: bool = False) -> "models.ForeignKey[Any, Any]":
    return models.ForeignKey(
        to, models.PROTECT, db_constraint=False, db_index=False, related_name="+", null=null
    )


class LedgerEntry(models.Model):
    """One exchange: who, when, what, how it ended, every kind of token, what it cost.

    Never changed once written, but for an abandoned one that its late settlement replaces. Times
    in milliseconds count from `admitted_at`; `estimated` says that counts are ours. `attempts` are
    the accounts that were asked, `null` when that is not known. What has a default in the database
    was added later: the release before goes on writing while this one is rolled out.
    """

    exchange_id = models.UUIDField(primary_key=True)
    apikey = _ledger_key(ApiKey)
    team = _ledger_key(Team, null=True)
    admitted_at = models.DateTimeField()
    settled_at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in ExchangeStatus])
    http_status = models.IntegerField()
    error_type = _text_field()
    model_requested = _text_field()
    model_answered = _text_field()
    streamed = models.BooleanField()
    upstream = _text_field()
    upstream_request_id = _text_field()
    client_address = _text_field()
    client_agent = _text_field()
    session_id = _text_field()
    agent_id = _text_field()
    parent_agent_id = _text_field()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    inference_geo = _text_field()
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


class HourlyRollup(models.Model):
    """What one key used of one model in one hour: sums over the ledger, written with it.

    `hour` is when exchanges were settled; `model` is what answered, or else what was asked for.
    Amounts have no lower bound here: a row that is taken back arrives as a negative difference.
    """

    hour = models.DateTimeField()
    apikey = _ledger_key(ApiKey)
    team = _ledger_key(Team, null=True)
    model = _text_field()
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    hung_up = models.BigIntegerField()
    abandoned = models.BigIntegerField()
    estimated = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_creation_input_tokens = models.BigIntegerField()
    cache_creation_1h_input_tokens = models.BigIntegerField()
    cache_read_input_tokens = models.BigIntegerField()
    web_search_requests = models.BigIntegerField()
    charged_tokens = models.BigIntegerField()
    cost_nanousd = models.BigIntegerField()
    cache_hits = models.BigIntegerField(db_default=0)
    cache_misses = models.BigIntegerField(db_default=0)
    saved_tokens = models.BigIntegerField(db_default=0)
    saved_nanousd = models.BigIntegerField(db_default=0)

    class Meta:
        verbose_name = "hourly roll-up"
        ordering = ("-hour",)
        indexes = (
            # One key's or one team's hours; the unique index below begins with the hour.
            models.Index(fields=("apikey", "hour"), name="hourlyrollup_apikey_hour"),
            models.Index(fields=("team", "hour"), name="hourlyrollup_team_hour"),
        )
        constraints = (
            # No team counts as team 0: Postgres 14 cannot call two nulls the same.
            models.UniqueConstraint(
                F("hour"), F("apikey"), Coalesce("team", 0), F("model"), name="hourlyrollup_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model}"


class Price(models.Model):
    """Rates of a model from `starts_at`, for prompts of at least `prompt_tokens_min` tokens.

    In nano-dollars: a token at 1 USD per million is 1,000. A new list is a new row; the ledger
    keeps what each exchange cost at the price in force.
    """

    model = models.ForeignKey(
        ClaudeModel, models.PROTECT, to_field="model_id", related_name="prices"
    )
    starts_at = models.DateTimeField(help_text="In force from this instant on.")
    prompt_tokens_min = models.PositiveIntegerField(
        default=0,
        verbose_name="prompt tokens from",
        help_text="The band of long prompts starts here. 0: all prompts.",
    )
    input_nanousd = models.PositiveBigIntegerField()
    output_nanousd = models.PositiveBigIntegerField()
    cache_creation_nanousd = models.PositiveBigIntegerField()
    cache_creation_1h_nanousd = models.PositiveBigIntegerField()
    cache_read_nanousd = models.PositiveBigIntegerField()
    web_search_nanousd = models.PositiveBigIntegerField(default=0)
    us_percent = models.PositiveSmallIntegerField(
        default=100,
        verbose_name="US inference, percent",
        help_text="Factor on token rates for US inference. 100: no change.",
    )

    class Meta:
        ordering = ("model", "-starts_at", "prompt_tokens_min")
        constraints = (
            models.UniqueConstraint(
                fields=("model", "starts_at", "prompt_tokens_min"), name="price_unique"
            ),
            models.CheckConstraint(condition=Q(us_percent__gte=1), name="price_us_percent"),
        )

    def __str__(self) -> str:
        band = f" from {self.prompt_tokens_min:,} tokens" if self.prompt_tokens_min else ""
        return f"{self.model_id} from {self.starts_at:%Y-%m-%d}{band}"


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
