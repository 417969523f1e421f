"""Families of clients by their user agent: a bounded set, whatever clients call themselves."""

OTHER, UNKNOWN = "other", "unknown"

# Beginnings of user agents, in lower case, and the family each belongs to. The first that fits.
# Source: recorded requests of those clients.
FAMILIES: tuple[tuple[str, str], ...] = (
    ("claude-cli/", "Claude Code"),
    ("claude-code/", "Claude Code"),
    ("anthropic/python", "Python SDK"),
    ("asyncanthropic/python", "Python SDK"),
    ("anthropic/js", "TypeScript SDK"),
    ("anthropic", "another SDK"),
    ("curl/", "curl"),
    ("mozilla/", "a browser"),
    ("python-", "Python"),
    ("python/", "Python"),
    ("aiohttp", "Python"),
    ("node", "JavaScript"),
    ("bun/", "JavaScript"),
    ("undici", "JavaScript"),
    ("axios", "JavaScript"),
)
CLIENTS = tuple(dict.fromkeys([*(name for _, name in FAMILIES), OTHER, UNKNOWN]))


def family(agent: str) -> str:
    """Return the family of a user agent."""
    if not agent:
        return UNKNOWN
    lower = agent.lower()
    return next((name for start, name in FAMILIES if lower.startswith(start)), OTHER)
