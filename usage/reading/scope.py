"""Whose use may be seen: everybody's, some teams', or that of a set of keys."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Holder(enum.StrEnum):
    """What a scope is made of."""

    EVERYTHING = "everything"
    TEAMS = "teams"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose use a question is about. Make one with the functions below.

    What is not in `ids` cannot be seen by any group or filter; without ids nothing can.
    """

    holder: Holder
    ids: frozenset[int] = frozenset()


def everything() -> Scope:
    """Return the scope of an operator."""
    return Scope(Holder.EVERYTHING)


def of_teams(team_ids: Iterable[int]) -> Scope:
    """Return the scope of whoever leads these teams.

    An exchange belongs to the team that its key was in when it was made.
    """
    return Scope(Holder.TEAMS, frozenset(team_ids))


def of_keys(apikey_ids: Iterable[int]) -> Scope:
    """Return the scope of whoever owns these keys, or signed in with one."""
    return Scope(Holder.KEYS, frozenset(apikey_ids))
