"""Claude Code's sessions and the tree of agents in each, by what they used."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from usage import replica
from usage.reading.instants import floor
from usage.reading.question import Span
from usage.reading.scope import Holder, Scope
from usage.rolling import SESSION_SUMS

# One session of a sane client has some dozen.
AGENTS_MAX = 1_000
# A chain of agents that start each other, longer than any client lets grow.
DEPTH_MAX = 50

# By what sessions are listed, the most first.
SESSION_RANKS = {
    "cost_nanousd": "sum(cost_nanousd)",
    "tokens": "sum(input_tokens + output_tokens + cache_creation_input_tokens"
    " + cache_read_input_tokens)",
    "requests": "sum(requests)",
    "errors": "sum(errors)",
    "agents": "count(DISTINCT agent_id)",
    "last_at": "max(last_at)",
}
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in SESSION_SUMS)


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
    scope: Scope,
    start: dt.datetime,
    end: dt.datetime,
    *,
    by: str = "cost_nanousd",
    most: int = 50,
) -> tuple[Session, ...]:
    """Return the sessions heard of on the days (UTC) of [start, end), those with most `by` first.

    Kept for `SESSION_DAYS` days.
    """
    span = Span(start, end)
    where, held = _held(scope)
    with replica.cursor() as cursor:
        cursor.execute(
            f"""SELECT apikey_id, session_id, count(DISTINCT agent_id), min(first_at),
                max(last_at), {_SUMS}
            FROM usage_sessionrollup
            WHERE {where} AND day >= %s AND day < %s AND requests > 0
            GROUP BY 1, 2 ORDER BY {SESSION_RANKS[by]} DESC, max(last_at) DESC, 1, 2 LIMIT %s""",
            [*held, floor(span.start, "d"), span.end, most],
        )
        return tuple(
            Session(apikey_id, session_id, agents, Used(*used))
            for apikey_id, session_id, agents, *used in cursor.fetchall()
        )


def session_tree(
    scope: Scope, session_id: str, *, apikey_id: int | None = None
) -> tuple[Agent, ...]:
    """Return the agents of a session as trees, by when they were first heard of; none if unknown.

    An agent whose parent is not there, or in a circle, stands at the top.
    """
    where, held = _held(scope)
    if apikey_id is not None:
        where, held = f"{where} AND apikey_id = %s", [*held, apikey_id]
    with replica.cursor() as cursor:
        cursor.execute(
            f"""SELECT apikey_id, agent_id, max(parent_agent_id), min(first_at), max(last_at),
                {_SUMS}
            FROM usage_sessionrollup WHERE {where} AND session_id = %s AND requests > 0
            GROUP BY 1, 2 ORDER BY min(first_at), 1, 2 LIMIT %s""",
            [*held, session_id, AGENTS_MAX],
        )
        found = cursor.fetchall()
    known = {(key, agent): (parent, Used(*used)) for key, agent, parent, *used in found}
    return _trees(known)


def _held(scope: Scope) -> tuple[str, list[Any]]:
    if scope.holder is Holder.EVERYTHING:
        return "true", []
    column = "apikey_id" if scope.holder is Holder.KEYS else "team_id"
    return f"{column} = ANY(%s)", [sorted(scope.ids)]


def _trees(known: dict[tuple[int, str], tuple[str, Used]]) -> tuple[Agent, ...]:
    below: dict[tuple[int, str] | None, list[tuple[int, str]]] = {}
    for place in known:
        below.setdefault(_above(place, known), []).append(place)

    def grown(place: tuple[int, str]) -> Agent:
        children = tuple(grown(child) for child in below.get(place, ()))
        return Agent(place[1], known[place][1], children)

    return tuple(grown(place) for place in below.get(None, ()))


def _above(
    place: tuple[int, str], known: dict[tuple[int, str], tuple[str, Used]]
) -> tuple[int, str] | None:
    """Return under which agent of the same key one stands, `None` for the top."""
    key, agent = place
    parent = (key, known[place][0])
    if agent == "" or parent not in known:
        return None
    seen, at = {place}, parent
    while at in known and at[1] != "":
        if at in seen or len(seen) > DEPTH_MAX:
            return None  # A client may say anything, also a circle.
        seen.add(at)
        at = (key, known[at][0])
    return parent
