"""Budgets: tokens or money per rolling window."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from keys.core.budget import WINDOW_S_MAX, format_amount, format_window
from keys.core.limits import AMOUNT_MAX, Unit
from keys.models.apikeys import ApiKey
from keys.models.plans import Plan
from keys.models.teams import Team

AMOUNT_VALIDATORS = [MaxValueValidator(AMOUNT_MAX)]


def unit_field() -> "models.CharField[str, str]":
    """What a budget counts."""
    return models.CharField(
        max_length=3, choices=[(Unit.TOKENS.value, "tokens"), (Unit.NANOUSD.value, "US dollars")]
    )


def window_s_field() -> "models.PositiveIntegerField[int, int]":
    """How long a budget's window is."""
    return models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(WINDOW_S_MAX)],
        verbose_name="window (seconds)",
    )


def raised_amount_field() -> "models.PositiveBigIntegerField[int | None, int | None]":
    """The limit for a while."""
    return models.PositiveBigIntegerField(null=True, editable=False, validators=AMOUNT_VALIDATORS)


def _raised_until(name: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=Q(raised_amount=None, raised_until=None)
        | Q(
            raised_amount__isnull=False,
            raised_amount__lte=AMOUNT_MAX,
            raised_until__isnull=False,
        ),
        name=name,
    )


class Budget(models.Model):
    """At most `limit_amount` tokens or nano-dollars of a key or a team in any `window_s` seconds;
    that of a plan holds for each key that has no budget of the same unit and window itself.

    `reset_at` is when an operator last emptied the window: uses before it no longer count.
    Until `raised_until` the limit is `raised_amount`, if that is more.
    """

    apikey = models.ForeignKey(
        ApiKey, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    team = models.ForeignKey(
        Team, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    plan = models.ForeignKey(
        Plan, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    unit = unit_field()
    window_s = window_s_field()
    limit_amount = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=AMOUNT_VALIDATORS,
        verbose_name="limit",
        help_text="Tokens or nano-dollars. Empty: unlimited. 0: nothing passes.",
    )
    strict = models.BooleanField(
        default=False, help_text="Hold the worst case beforehand, so the limit is never exceeded."
    )
    anchored = models.BooleanField(
        default=False, help_text="Start the window at its first use and empty it all at once."
    )
    reset_at = models.DateTimeField(null=True, editable=False)
    raised_amount = raised_amount_field()
    raised_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(apikey__isnull=False, team=None, plan=None)
                | Q(apikey=None, team__isnull=False, plan=None)
                | Q(apikey=None, team=None, plan__isnull=False),
                name="budget_one_holder",
            ),
            models.CheckConstraint(
                condition=Q(unit__in=[Unit.TOKENS.value, Unit.NANOUSD.value]), name="budget_unit"
            ),
            models.CheckConstraint(
                condition=Q(window_s__gte=1, window_s__lte=WINDOW_S_MAX), name="budget_window"
            ),
            models.CheckConstraint(
                condition=Q(limit_amount=None) | Q(limit_amount__lte=AMOUNT_MAX),
                name="budget_limit_max",
            ),
            # Their indexes also serve the load of a policy: all budgets of a holder.
            models.UniqueConstraint(
                fields=("apikey", "unit", "window_s"), name="budget_apikey_unit_window"
            ),
            models.UniqueConstraint(
                fields=("team", "unit", "window_s"), name="budget_team_unit_window"
            ),
            models.UniqueConstraint(
                fields=("plan", "unit", "window_s"), name="budget_plan_unit_window"
            ),
            _raised_until("budget_raised_until"),
        )

    def __str__(self) -> str:
        amount = format_amount(Unit(self.unit), self.limit_amount)
        return f"{amount} / {format_window(self.window_s)}"


class InheritedWindow(models.Model):
    """What is special of one key in a budget of its plan: a reset, a raise until a date.

    Read only while the key has no budget of this unit and window itself.
    """

    apikey = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="inherited_windows")
    unit = unit_field()
    window_s = window_s_field()
    reset_at = models.DateTimeField(null=True, editable=False)
    raised_amount = raised_amount_field()
    raised_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            # Its index also serves the load of a policy.
            models.UniqueConstraint(
                fields=("apikey", "unit", "window_s"), name="inheritedwindow_once"
            ),
            _raised_until("inheritedwindow_raised_until"),
        )

    def __str__(self) -> str:
        return f"{self.unit} / {format_window(self.window_s)} of {self.apikey}"
