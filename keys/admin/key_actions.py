"""What can be done to keys: how each thing is called, what it does, and when it is offered."""

from dataclasses import dataclass

from keys.core.access import KeyStatus


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One thing to do: how the page asks, and in which states a key's own page offers it.

    `typed` wants something typed, `alone` can be done to one key at a time.
    """

    name: str
    label: str
    effect: str
    offered: frozenset[KeyStatus]
    dangerous: bool = False
    typed: bool = False
    alone: bool = False


_LIVE = frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED})
KEY_ACTIONS = {
    each.name: each
    for each in (
        KeyAction(
            "disable",
            "Disable",
            "New requests get 401 within a second. Those in flight finish. Enable the key again"
            " whenever you like.",
            frozenset({KeyStatus.ACTIVE}),
            dangerous=True,
        ),
        KeyAction(
            "enable",
            "Enable",
            "The key works again within a second, under the limits it had.",
            frozenset({KeyStatus.DISABLED}),
        ),
        KeyAction(
            "extend",
            "Extend",
            "The key works until the end of that day, UTC. An expired key works again within a"
            " second.",
            frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED, KeyStatus.EXPIRED}),
        ),
        KeyAction(
            "rotate",
            "Rotate",
            "The key gets a new secret, shown once. The one before works until its time is over."
            " Limits and what was used stay. A rotation before this one ends at once.",
            _LIVE,
            alone=True,
        ),
        KeyAction(
            "change_plan",
            "Change plan",
            "Within a second the key follows that plan in everything, and later changes of it. Its"
            " own limits and budgets go, unless you keep them. What was used stays used.",
            _LIVE,
        ),
        KeyAction(
            "raise_budget",
            "Raise a budget",
            "Within a second that much can be used, until the end of that day, UTC. Then the budget"
            " is what it was, by itself. A raise before this one is replaced.",
            _LIVE,
            alone=True,
        ),
        KeyAction(
            "reset",
            "Empty budget windows",
            "What was used so far no longer counts against the key's budgets, its plan's too: all"
            " of each can be used again, from now on. The ledger keeps what was used.",
            _LIVE,
        ),
        KeyAction(
            "purge_cache",
            "Purge response cache",
            "Within a second the key is answered with nothing stored before now. Upstream answers"
            " again, at the full charge. A key of a team that shares its cache empties that.",
            _LIVE,
        ),
        KeyAction(
            "revoke",
            "Revoke for ever",
            "New requests get 401 within a second, for ever. Those in flight finish. This cannot be"
            " undone: disable the key if you may want it back.",
            frozenset({KeyStatus.ACTIVE, KeyStatus.DISABLED, KeyStatus.EXPIRED}),
            dangerous=True,
            typed=True,
        ),
    )
}
