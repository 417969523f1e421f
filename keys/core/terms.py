"""What a plan gives and what a key has: the terms of its use, compared as values.

A plan's terms hold for each of its keys apart. `excesses` says in words where one goes beyond
another, which is how a lead is held to the plan of the team.
"""

import enum
import fnmatch
from dataclasses import dataclass

from keys.core.access import Hangup, undated
from keys.core.budget import BudgetSpec, format_amount, format_window

# The fields that a key may take from its plan, as they are called in both.
INHERITABLE = ("rpm", "concurrency", "wait_s", "models", "cache_enabled", "hangup")


class Inherit(enum.Enum):
    """In place of a value: let the key follow its plan."""

    INHERIT = enum.auto()


INHERIT = Inherit.INHERIT


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything a plan says. `models` are ids or patterns, empty for all."""

    rpm: int | None
    concurrency: int | None
    wait_s: int
    models: tuple[str, ...]
    cache_enabled: bool
    hangup: Hangup
    budgets: tuple[BudgetSpec, ...] = ()


def excesses(terms: Terms, most: Terms) -> list[str]:
    """Return a sentence for each point in which `terms` allow what `most` does not."""
    found = []
    if _more(terms.rpm, most.rpm):
        found.append(f"At most {most.rpm} requests a minute.")
    if _more(terms.concurrency, most.concurrency):
        found.append(f"At most {most.concurrency} exchanges in flight.")
    if terms.wait_s > most.wait_s:
        found.append(f"An exchange waits at most {most.wait_s} s for a slot.")
    if not _within(terms.models, most.models):
        found.append(f"Only these models: {', '.join(most.models)}.")
    if terms.cache_enabled and not most.cache_enabled:
        found.append("The response cache is off.")
    if terms.hangup is Hangup.DRAIN and most.hangup is Hangup.ABORT:
        found.append("When the client hangs up, the upstream call is aborted.")
    return found + [
        f"A budget of at most {_named(budget)}."
        for budget in most.budgets
        if not any(_holds(ours, budget) for ours in terms.budgets)
    ]


def _more(value: int | None, most: int | None) -> bool:
    return most is not None and (value is None or value > most)


def _within(models: tuple[str, ...], most: tuple[str, ...]) -> bool:
    if not most:
        return True
    # A pattern read as a name: `claude-haiku-4*` is within `claude-haiku-*`, whatever the star is.
    return bool(models) and all(
        any(fnmatch.fnmatchcase(model, pattern) or undated(model) == pattern for pattern in most)
        for model in models
    )


def _holds(ours: BudgetSpec, most: BudgetSpec) -> bool:
    """Return whether whoever has `ours` can use no more than `most` allows."""
    if (ours.unit, ours.window_s, ours.anchored) != (most.unit, most.window_s, most.anchored):
        return most.limit is None
    return not _more(ours.limit, most.limit) and (ours.strict or not most.strict)


def _named(budget: BudgetSpec) -> str:
    strict = ", strict" if budget.strict else ""
    anchored = ", anchored" if budget.anchored else ""
    amount = format_amount(budget.unit, budget.limit)
    return f"{amount} / {format_window(budget.window_s)}{strict}{anchored}"
