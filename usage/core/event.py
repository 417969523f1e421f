"""The ledger event: what the settling script appends to the stream and the drain turns into a row.

An event is a flat JSON object with the fields of `Opening`, written when the exchange is admitted,
overlaid by those of `Closing`, written when it is settled. When the holder died there is no
closing: the sweep's event carries the opening, the last progress, and status `abandoned`.

Events of the release before the response cache have `upstream` in the opening and nothing of
cache and attempts; they are read as exchanges that went past the cache.
"""

import enum
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from keys.core.text import kept_json
from usage.core.tokens import TokenUsage


class ExchangeStatus(enum.StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"  # the whole answer reached the client
    HUNG_UP = "hung_up"  # the client left before the end
    UPSTREAM_ERROR = "upstream_error"  # upstream refused, broke off or could not be reached
    GATEWAY_ERROR = "gateway_error"  # our fault; nothing or not everything was relayed
    ABANDONED = "abandoned"  # the process that held it died; charged by the sweep


class CacheOutcome(enum.StrEnum):
    """What the response cache had to do with an exchange."""

    HIT = "hit"  # answered out of it
    MISS = "miss"  # it was asked and had no answer
    BYPASS = "bypass"  # it was not asked


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try with one upstream account: how it ended, and after how long.

    `outcome` is "answered", a status that made the gateway try elsewhere ("529"), or what broke:
    "connect", "broken", "timeout".
    """

    account: str
    outcome: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known at admission. `exchange_id` is 32 hexadecimal characters, time first.

    `*_estimate` are the input part of the reservation: what an abandoned exchange is charged
    when no progress was ever reported.
    """

    exchange_id: str
    apikey_id: int
    team_id: int | None
    model_requested: str
    streamed: bool
    admitted_at_ms: int
    client_address: str
    client_agent: str
    session_id: str
    agent_id: str
    parent_agent_id: str
    input_tokens_estimate: int
    cost_nanousd_estimate: int


@dataclass(frozen=True, slots=True)
class Closing:
    """What is known at the end. Times are milliseconds after admission, `None` if never reached.

    `charged_tokens` is what the budgets were charged; `estimated` says that counts are ours.
    `upstream` is the account that answered, "" if none did; `attempts` are all that were asked.
    On a cache hit `cache_source` is the request id whose answer it was, `saved_*` are what the
    original was charged above this one, and the counts in `usage` are 0: upstream counted nothing.
    """

    status: ExchangeStatus
    http_status: int
    error_type: str
    model_answered: str
    upstream: str
    upstream_request_id: str
    attempts: tuple[Attempt, ...]
    cache: CacheOutcome
    cache_source: str
    usage: TokenUsage
    charged_tokens: int
    cost_nanousd: int
    saved_tokens: int
    saved_nanousd: int
    estimated: bool
    first_byte_ms: int | None
    total_ms: int


# What an event leaves out that nothing reported, or that is older than these fields. Attempts that
# are not known are none at all, unlike no attempts.
_UNKNOWN: dict[str, Any] = {
    "upstream": "",
    "attempts": None,
    "cache": CacheOutcome.BYPASS,
    "cache_source": "",
    "saved_tokens": 0,
    "saved_nanousd": 0,
}


def encode_opening(opening: Opening) -> bytes:
    """Return the JSON of the opening."""
    return kept_json(opening)


def encode_closing(closing: Closing) -> bytes:
    """Return the JSON of the closing; its usage is an object under `usage`."""
    return kept_json(closing)


def join(opening: bytes, closing: bytes | None, charged_at_ms: int) -> dict[str, Any]:
    """Return the fields of the ledger row for one event of the stream.

    `closing` is `None` for an abandoned exchange that never reported progress. An abandoned one
    that did has as closing its last progress, whose status is `abandoned` already.
    `settled_at_ms` is the instant the charge was made, on Valkey's clock.
    Raises `ValueError` for bytes that are no such event; what the fields hold is left to the
    columns they go to.
    """
    row = _UNKNOWN | _object(opening, "the opening")
    if "exchange_id" not in row:
        raise ValueError("the opening has no exchange_id")
    row |= _object(closing, "the closing") if closing else _never_reported(row)
    usage = row.pop("usage", None)
    if not isinstance(usage, dict):
        raise ValueError("the closing has no usage")
    return row | usage | {"settled_at_ms": charged_at_ms}


def parse_anchors(text: bytes) -> dict[str, int] | None:
    """Return where each anchored window stood when this exchange was charged, by window name.

    The text reads `k12.0:tok:18000:a=1711234567000,…`; none at all is `None`.
    Raises `ValueError` for anything else.
    """
    if not text:
        return None
    pairs = (pair.rpartition("=") for pair in text.decode().split(","))
    return {_named(name): int(start_ms) for name, _, start_ms in pairs}


def _named(name: str) -> str:
    if not name:
        raise ValueError("an anchor without the name of its window")
    return name


def _object(encoded: bytes, what: str) -> dict[str, Any]:
    # A text column cannot hold U+0000, and a charge must not be lost over a character.
    decoded = orjson.loads(encoded.replace(b"\\u0000", b"\\ufffd"))
    if not isinstance(decoded, dict):
        raise ValueError(f"{what} is not a JSON object")
    return decoded


def _never_reported(opening: dict[str, Any]) -> dict[str, Any]:
    tokens = opening.get("input_tokens_estimate")
    return {
        "status": ExchangeStatus.ABANDONED,
        "http_status": 0,
        "error_type": "",
        "model_answered": "",
        "upstream_request_id": "",
        "usage": asdict(TokenUsage()) | {"input_tokens": tokens},
        "charged_tokens": tokens,
        "cost_nanousd": opening.get("cost_nanousd_estimate"),
        "estimated": True,
        "first_byte_ms": None,
        "total_ms": 0,
    }
