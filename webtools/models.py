"""Web tools as the control plane stores them: the account at Tavily, prices, who may use them.

Writes go through `webtools.services`; `webtools.terms` alone turns these rows into what the
gateway obeys.
"""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from keys.models import RATE_MAX, ApiKey, Plan

# A thousand dollars: beyond it, a slip of units.
CREDIT_NANOUSD_MAX = 10**12


def _calls_per_day() -> "models.PositiveBigIntegerField[int | None, int | None]":
    return models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(RATE_MAX)],
        verbose_name="calls a day",
        help_text="Of each key, in any 24 hours. Empty: unlimited. 0: nothing passes.",
    )


def _always() -> "models.BooleanField[bool, bool]":
    return models.BooleanField(
        default=False,
        db_default=False,
        verbose_name="in every message",
        help_text="On: each request to /v1/messages without tools of its own gets web tools. Off:"
        " those that ask by X-ClaudCode-Tools, and all while a tool session is open.",
    )


class TavilyAccount(models.Model):
    """The operator's account at Tavily, and what holds for keys without a rule. One row.

    The credential is sealed for the address of TAVILY_BASE_URL alone.
    """

    SINGLETON_ID = 1

    enabled = models.BooleanField(
        default=True,
        verbose_name="web tools",
        help_text="Off: no key may use web tools, with a Tavily key of its own either.",
    )
    credential = models.TextField(null=True, editable=False)
    credential_hint = models.CharField(max_length=20, blank=True, editable=False)
    credential_set_at = models.DateTimeField(null=True, editable=False)
    keys_enabled = models.BooleanField(
        default=True,
        verbose_name="keys without a rule",
        help_text="Whether keys may use web tools that neither have a rule nor a plan with one.",
    )
    always = _always()
    calls_per_day = _calls_per_day()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "Tavily account"
        verbose_name_plural = "Tavily account"
        constraints = (models.CheckConstraint(condition=Q(id=1), name="tavilyaccount_one_row"),)

    def __str__(self) -> str:
        return "Tavily account"


class CreditPrice(models.Model):
    """What a credit of Tavily's costs from `starts_at` on. A new price is a new row; the ledger
    keeps what each call cost at the price in force.
    """

    starts_at = models.DateTimeField(
        unique=True, default=timezone.now, help_text="In force from this instant on."
    )
    credit_nanousd = models.PositiveBigIntegerField(
        validators=[MaxValueValidator(CREDIT_NANOUSD_MAX)],
        verbose_name="nano-dollars a credit",
        help_text="A credit at 0.8 cents is 8,000,000.",
    )

    class Meta:
        verbose_name = "credit price"
        ordering = ("-starts_at",)

    def __str__(self) -> str:
        return f"{self.credit_nanousd:,} nano-dollars from {self.starts_at:%Y-%m-%d}"


class ToolRule(models.Model):
    """Whether a key, or each key of a plan, may use web tools, and how often a day.

    A key's own rule comes before its plan's, and that before what holds for keys without one.
    """

    apikey = models.OneToOneField(
        ApiKey,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="tool_rule",
        verbose_name="API key",
    )
    plan = models.OneToOneField(
        Plan, models.CASCADE, null=True, blank=True, related_name="tool_rule"
    )
    enabled = models.BooleanField(default=True, verbose_name="web tools")
    always = _always()
    calls_per_day = _calls_per_day()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "rule for web tools"
        verbose_name_plural = "rules for web tools"
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(apikey__isnull=False, plan=None) | Q(apikey=None, plan__isnull=False),
                name="toolrule_one_holder",
            ),
        )

    def __str__(self) -> str:
        return f"Web tools of {self.apikey or self.plan}"
