"""A session of Claude Code as lines of a tree: each agent below the one that started it."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from usage.core.figures import compact, duration
from usage.core.price import humane_usd
from usage.dashboard.panels import TOKEN_KINDS
from usage.reading.scope import Scope
from usage.reading.sessions import Agent, Used, session_tree

# Deeper than agents start agents; below it lines stand no further in.
DEPTH_MAX = 12
AGENTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One agent: how deep it stands, what it used itself, and with all that it started."""

    depth: int
    name: str
    first_at: dt.datetime
    lasted: str
    requests: str
    errors: int
    tokens: str
    tokens_exact: str
    cost: str
    cost_with_started: str
    share: float


@dataclass(frozen=True, slots=True)
class Tree:
    """All agents of a session in order, and what they used together."""

    agents: tuple[TreeLine, ...]
    cost: str = ""
    tokens: str = ""
    requests: str = ""
    cut: bool = False


def tree(scope: Scope, session_id: str, apikey_id: int | None) -> Tree:
    """Return the session, of one key or of all that may be seen; no agents if nobody has it."""
    tops = session_tree(scope, session_id, apikey_id=apikey_id)
    walked = list(_walk(tops, 0))
    whole = sum(agent.used.cost_nanousd for _depth, agent in walked)
    lines = tuple(_line(depth, agent, whole) for depth, agent in walked[:AGENTS_MAX])
    tokens = sum(_tokens(agent.used) for _depth, agent in walked)
    requests = sum(agent.used.requests for _depth, agent in walked)
    cut = len(walked) > AGENTS_MAX
    return Tree(lines, humane_usd(whole), compact(tokens), f"{requests:,}", cut)


def _walk(agents: Sequence[Agent], depth: int) -> Iterator[tuple[int, Agent]]:
    for agent in agents:
        yield depth, agent
        yield from _walk(agent.children, depth + 1)


def _line(depth: int, agent: Agent, whole: int) -> TreeLine:
    used = agent.used
    below = sum(each.used.cost_nanousd for _depth, each in _walk([agent], 0))
    return TreeLine(
        depth=min(depth, DEPTH_MAX),
        name=agent.agent_id or "main agent",
        first_at=used.first_at,
        lasted=duration((used.last_at - used.first_at).total_seconds()),
        requests=f"{used.requests:,}",
        errors=used.errors,
        tokens=compact(_tokens(used)),
        tokens_exact=f"{_tokens(used):,}",
        cost=humane_usd(used.cost_nanousd),
        cost_with_started=humane_usd(below) if agent.children else "",
        share=used.cost_nanousd / whole if whole else 0.0,
    )


def _tokens(used: Used) -> int:
    return sum(getattr(used, kind) for kind in TOKEN_KINDS)
