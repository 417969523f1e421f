"""What an operator token may do, in words that a person picks when issuing it.

A scope never lends more than its giver has: a token of a person is worth, at each request, what
that person may do in the console at that moment.
"""

from collections.abc import Iterable

# Each scope, and the permissions of the console that whoever gave the token must have.
SCOPES: dict[str, tuple[str, ...]] = {
    "keys:read": ("keys.view_apikey",),
    "keys:write": ("keys.add_apikey", "keys.change_apikey"),
    "teams:read": ("keys.view_team",),
    "teams:write": (
        "keys.add_team",
        "keys.change_team",
        "keys.delete_team",
        "keys.add_membership",
        "keys.change_membership",
        "keys.delete_membership",
    ),
    "plans:read": ("keys.view_plan",),
    "plans:write": ("keys.add_plan", "keys.change_plan", "keys.delete_plan"),
    "models:read": ("keys.view_claudemodel",),
    "models:write": ("keys.add_claudemodel", "keys.change_claudemodel"),
    "prices:read": ("usage.view_price",),
    "prices:write": ("usage.add_price", "usage.change_price"),
    "upstreams:read": ("proxy.view_upstreamaccount",),
    "upstreams:write": (
        "proxy.add_upstreamaccount",
        "proxy.change_upstreamaccount",
        "proxy.delete_upstreamaccount",
    ),
    # Day-to-day work, which needs no hand on addresses and credentials.
    "upstreams:operate": ("proxy.operate_upstreamaccount",),
    "alerts:read": ("alerts.view_alert", "alerts.view_alerttarget", "alerts.view_alertdelivery"),
    "alerts:write": (
        "alerts.add_alerttarget",
        "alerts.change_alerttarget",
        "alerts.delete_alerttarget",
    ),
    "alerts:operate": ("alerts.replay_alertdelivery",),
    "webtools:read": (
        "webtools.view_tavilyaccount",
        "webtools.view_creditprice",
        "webtools.view_toolrule",
    ),
    "webtools:write": (
        "webtools.change_tavilyaccount",
        "webtools.add_creditprice",
        "webtools.change_creditprice",
    ),
    # Rules for keys and plans, which need no hand on the credential.
    "webtools:operate": (
        "webtools.add_toolrule",
        "webtools.change_toolrule",
        "webtools.delete_toolrule",
    ),
    "tokens:read": ("keys.view_operatortoken",),
    "tokens:write": ("keys.add_operatortoken", "keys.change_operatortoken"),
    "usage:read": ("usage.view_hourlyrollup",),
    "ledger:read": ("usage.view_ledgerentry",),
    "audit:read": ("keys.view_auditevent",),
    "maintenance:read": ("keys.view_maintenance",),
    "maintenance:write": ("keys.change_maintenance",),
}


class UnknownScope(ValueError):
    """There is no such scope; the message names those there are."""


def expand(words: Iterable[str]) -> list[str]:
    """Return the scopes that `words` name, sorted: `keys:*` is all of keys, `*` is everything.

    Raises `UnknownScope`.
    """
    return sorted({scope for word in words for scope in _named(word)})


def _named(word: str) -> list[str]:
    if word in SCOPES:
        return [word]
    area, star, rest = word.partition("*")
    named = [scope for scope in SCOPES if scope.startswith(area)]
    if not star or rest or not named or not (area == "" or area.endswith(":")):
        raise UnknownScope(f"'{word}' is not a scope. There are: {', '.join(SCOPES)}.")
    return named
