"""How keys stand against their budgets: live from Valkey, from the roll-up where it knows nothing.

A window that Valkey does not hold was used long ago, or was lost and is loaded at its key's next
exchange. Until then the roll-up tells what is in it to the hour, and the figure says that it does.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from keys.core.limits import Limit, Unit
from keys.live import Live, NotRead, peek
from keys.models import ApiKey
from keys.policy import load_policies
from usage.reports import charged


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """One budget: what is used and held of its limit.

    `frees_at_ms` is when the oldest use leaves, or when a spent one lets somebody in again.
    `to_the_hour` says that the figure is of the roll-up: up to an hour's use too high.
    """

    limit: Limit
    used: int
    held: int = 0
    frees_at_ms: int | None = None
    to_the_hour: bool = False

    @property
    def share(self) -> float:
        """What is used of the limit; a limit of nothing is all used."""
        return self.used / self.limit.limit if self.limit.limit else 1.0

    @property
    def of_team(self) -> bool:
        """Whether the budget lies over all keys of the team."""
        return self.limit.scope.startswith("t")


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """One key: requests in the last minute, exchanges in flight, and budgets, its own first.

    `None` is not known: `rpm` of a key without such a limit, both when Valkey does not answer.
    """

    rpm: int | None
    in_flight: int | None
    budgets: tuple[BudgetStanding, ...]

    @property
    def worst(self) -> BudgetStanding | None:
        """The budget that is used most, if there is any."""
        return max(self.budgets, key=lambda budget: budget.share, default=None)


def standings(apikeys: Sequence[ApiKey], now: dt.datetime) -> dict[int, KeyStanding]:
    """Return how keys, read with their teams, stand, by their ids. At most three queries."""
    try:
        lives, live = peek(apikeys), True
    except NotRead:
        policies = load_policies(apikeys)
        lives = {pk: Live(policy, cold=policy.limits) for pk, policy in policies.items()}
        live = False
    cold = [limit for each in lives.values() for limit in each.cold if _is_budget(limit)]
    amounts = charged(cold, now)
    return {pk: _standing(each, amounts, live) for pk, each in lives.items()}


def _standing(live: Live, amounts: dict[Limit, int], known: bool) -> KeyStanding:
    warm = {
        reading.limit: BudgetStanding(
            reading.limit, reading.used, reading.held, reading.opens_at_ms or reading.frees_at_ms
        )
        for reading in live.budgets
    }
    budgets = tuple(
        warm.get(limit) or BudgetStanding(limit, amounts[limit], to_the_hour=amounts[limit] > 0)
        for limit in live.policy.limits
        if _is_budget(limit)
    )
    return KeyStanding(live.rpm if known else None, live.in_flight if known else None, budgets)


def _is_budget(limit: Limit) -> bool:
    return limit.unit in (Unit.TOKENS, Unit.NANOUSD)
