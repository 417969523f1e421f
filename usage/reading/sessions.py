"""Claude Code's sessions and the tree of agents in each, by what they used."""

import datetime as dt
from dataclasses import dataclass

from usage.reading.scope import Scope


@dataclass(frozen=True, slots=True)
class Used:
    """What a session or an agent used, and when it was first and last heard of."""

    first_at: dt.datetime
    last_at: dt.datetime
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    charged_tokens: int
    cost_nanousd: int


@dataclass(frozen=True, slots=True)
class Session:
    """One session of one key: two keys that name theirs alike have two."""

    apikey_id: int
    session_id: str
    agents: int
    used: Used


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent, its own use, and the agents it started. The main one's `agent_id` is ""."""

    agent_id: str
    used: Used
    children: tuple["Agent", ...] = ()


def sessions(
    scope: Scope, start: dt.datetime, end: dt.datetime, *, most: int = 50
) -> tuple[Session, ...]:
    """Return the sessions heard of on the days (UTC) of [start, end), the dearest first.

    Kept for `SESSION_DAYS` days.
    """
    raise NotImplementedError


def session_tree(
    scope: Scope, session_id: str, *, apikey_id: int | None = None
) -> tuple[Agent, ...]:
    """Return the agents of a session as trees, by when they were first heard of; none if unknown.

    An agent whose parent is not there, or is below itself, stands at the top.
    """
    raise NotImplementedError
