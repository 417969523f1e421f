"""The keys of the crowd: alone and in a team, with soft, strict and anchored budgets, large enough.

No limit shall stop anybody here: what limits do is tested elsewhere. Here they must come out right.
"""

from collections.abc import Callable

from keys.core.access import Hangup
from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.core.secret import Secret
from keys.models import ApiKey
from keys.services import apikey_issue, team_create
from tests.chaos.crowd import Developer

RPM = 1_000_000
CONCURRENCY = 10_000
SOFT = BudgetSpec(Unit.TOKENS, window_s=18_000, limit=10**12)
STRICT = BudgetSpec(Unit.TOKENS, window_s=3_600, limit=10**12, strict=True)
ANCHORED = BudgetSpec(Unit.TOKENS, window_s=7_200, limit=10**12, anchored=True)
DOLLARS = BudgetSpec(Unit.NANOUSD, window_s=30 * 86_400, limit=10**15)
STRICT_DOLLARS = BudgetSpec(Unit.NANOUSD, window_s=86_400, limit=10**15, strict=True)


def developers() -> list[Developer]:
    """Issue the keys."""
    team = team_create(
        name="besieged",
        acting_user=None,
        rpm=RPM,
        concurrency=CONCURRENCY,
        budgets=(DOLLARS, SOFT),
    )
    issue: Callable[..., tuple[ApiKey, Secret]] = apikey_issue
    issued = [
        issue(
            name=f"besieged {number}",
            acting_user=None,
            rpm=RPM,
            concurrency=CONCURRENCY,
            **fields,
        )
        for number, fields in enumerate(
            (
                {"budgets": (SOFT,)},
                {"budgets": (SOFT, DOLLARS)},
                {"budgets": (STRICT, STRICT_DOLLARS)},
                {"budgets": (ANCHORED,)},
                {"budgets": (SOFT,), "hangup": Hangup.DRAIN},
                {"budgets": (SOFT,), "team": team},
                {"budgets": (STRICT, ANCHORED), "team": team},
            )
        )
    ]
    return [Developer(apikey.pk, secret.text) for apikey, secret in issued]
