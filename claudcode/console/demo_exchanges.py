"""Invented exchanges of demo keys: days with mornings and nights, a few busy keys, some trouble.

Every row adds up: tokens are weighed and priced by the code that charges real ones.
"""

import datetime as dt
import math
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from keys.core.limits import AMOUNT_MAX
from usage.core.event import Attempt, CacheOutcome, ExchangeStatus
from usage.core.price import PriceBook, cost_nanousd
from usage.core.tokens import TokenUsage, weigh

# Real clients never send it, so whoever meets such a row knows what it is.
AGENT = "demo-data/1"
ADDRESS = "192.0.2.1"  # Reserved for documentation: RFC 5737.
# As documented for answers out of the cache: a tenth of the charge.
HIT_PERCENT = 10
_ACCOUNTS = ("demo-main", "demo-spare")
# Of a thousand.
_ENDINGS = {
    ExchangeStatus.COMPLETED: 967,
    ExchangeStatus.HUNG_UP: 12,
    ExchangeStatus.UPSTREAM_ERROR: 16,
    ExchangeStatus.GATEWAY_ERROR: 3,
    ExchangeStatus.ABANDONED: 2,
}
_STATUSES, _WEIGHTS = tuple(_ENDINGS), tuple(_ENDINGS.values())
_UNSAID = dict.fromkeys(
    ("error_type", "session_id", "agent_id", "parent_agent_id", "cache_source"), ""
)


@dataclass(frozen=True, slots=True)
class Who:
    """A key that exchanges are invented for."""

    apikey_id: int
    team_id: int | None
    model: str


def exchanges(
    whos: Sequence[Who], count: int, now: dt.datetime, days: int, prices: PriceBook, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield `count` ledger rows of the last `days` days; the same for the same arguments."""
    invent = _Inventor(prices, random.Random(seed))
    # A few keys do most of the work, as everywhere.
    shares = [1 / (place + 1) ** 0.9 for place in range(len(whos))]
    chosen = random.Random(seed + 1).choices(whos, shares, k=count)
    for who in chosen:
        yield invent.row(who, now - dt.timedelta(seconds=invent.age_s(now, days)))


class _Inventor:
    def __init__(self, prices: PriceBook, dice: random.Random) -> None:
        self._prices = prices
        self._dice = dice

    def age_s(self, now: dt.datetime, days: int) -> float:
        """Return how long ago an exchange was settled: by day more often than by night."""
        while True:
            age = self._dice.random() * (days * 86_400 - 120) + 60
            at = now - dt.timedelta(seconds=age)
            busy = 0.55 + 0.45 * math.sin((at.hour + at.minute / 60 - 8) / 24 * 2 * math.pi)
            if self._dice.random() < busy * (0.35 if at.weekday() >= 5 else 1):
                return age

    def row(self, who: Who, settled_at: dt.datetime) -> dict[str, Any]:
        """Return one ledger row."""
        status = self._dice.choices(_STATUSES, _WEIGHTS)[0]
        usage = self._usage(status)
        total_ms = int(self._dice.lognormvariate(8.3, 0.8))
        admitted_at = settled_at - dt.timedelta(milliseconds=total_ms)
        price = self._prices.price(who.model, usage.prompt_tokens, _ms(admitted_at))
        tokens, cost = weigh(usage, HIT_PERCENT), cost_nanousd(usage, price)
        hit = status is ExchangeStatus.COMPLETED and self._dice.random() < 0.11
        charge = _hit(tokens, cost) if hit else _miss(usage, tokens, cost)
        failed = status in (ExchangeStatus.UPSTREAM_ERROR, ExchangeStatus.GATEWAY_ERROR)
        exchange_id = self._exchange_id(admitted_at)
        row = (
            _UNSAID
            | charge
            | {
                "exchange_id": exchange_id,
                "apikey_id": who.apikey_id,
                "team_id": who.team_id,
                "admitted_at": admitted_at,
                "settled_at": settled_at,
                "status": status.value,
                "http_status": _http_status(status),
                "error_type": "overloaded_error" if failed else "",
                "model_requested": who.model,
                "model_answered": "" if failed else who.model,
                "streamed": self._dice.random() < 0.8,
                "upstream": "" if hit else _ACCOUNTS[0],
                "upstream_request_id": "" if hit else f"req_demo{exchange_id.hex[:20]}",
                "client_address": ADDRESS,
                "client_agent": AGENT,
                "estimated": status in (ExchangeStatus.HUNG_UP, ExchangeStatus.ABANDONED),
                "input_tokens_estimate": usage.prompt_tokens,
                "cost_nanousd_estimate": min(AMOUNT_MAX, usage.prompt_tokens * price.input_nanousd),
                "first_byte_ms": None if failed else min(total_ms, 200 + total_ms // 9),
                "total_ms": 12 if hit else total_ms,
                "anchors": None,
                "attempts": [] if hit else self._attempts(total_ms, failed),
                "cache": CacheOutcome.HIT.value if hit else CacheOutcome.MISS.value,
                "cache_source": f"req_{uuid.UUID(int=self._dice.getrandbits(128)).hex}"
                if hit
                else "",
            }
        )
        return row

    def _usage(self, status: ExchangeStatus) -> TokenUsage:
        if status in (ExchangeStatus.UPSTREAM_ERROR, ExchangeStatus.GATEWAY_ERROR):
            return TokenUsage()
        cached = self._dice.random() < 0.6
        hours = int(self._dice.lognormvariate(6, 1)) if cached and self._dice.random() < 0.1 else 0
        return TokenUsage(
            input_tokens=int(self._dice.lognormvariate(6.5, 1.2)),
            output_tokens=int(self._dice.lognormvariate(5.6, 0.9)),
            cache_creation_input_tokens=hours
            + (int(self._dice.lognormvariate(6, 1)) if cached else 0),
            cache_creation_1h_input_tokens=hours,
            cache_read_input_tokens=int(self._dice.lognormvariate(9, 0.8)) if cached else 0,
        )

    def _attempts(self, total_ms: int, failed: bool) -> list[dict[str, Any]]:
        if failed:
            tried = [Attempt(name, "529", 90 + place * 40) for place, name in enumerate(_ACCOUNTS)]
        elif self._dice.random() < 0.02:
            tried = [
                Attempt(_ACCOUNTS[0], "529", 110),
                Attempt(_ACCOUNTS[1], "answered", max(1, total_ms // 9)),
            ]
        else:
            tried = [Attempt(_ACCOUNTS[0], "answered", max(1, total_ms // 9))]
        return [asdict(attempt) for attempt in tried]

    def _exchange_id(self, admitted_at: dt.datetime) -> uuid.UUID:
        return uuid.UUID(int=_ms(admitted_at) << 80 | self._dice.getrandbits(80))


def _hit(tokens: int, cost: int) -> dict[str, Any]:
    charged, paid = -(-tokens * HIT_PERCENT // 100), -(-cost * HIT_PERCENT // 100)
    return {
        **asdict(TokenUsage()),
        "charged_tokens": charged,
        "cost_nanousd": paid,
        "saved_tokens": tokens - charged,
        "saved_nanousd": cost - paid,
    }


def _miss(usage: TokenUsage, tokens: int, cost: int) -> dict[str, Any]:
    return {
        **asdict(usage),
        "charged_tokens": tokens,
        "cost_nanousd": cost,
        "saved_tokens": 0,
        "saved_nanousd": 0,
    }


def _http_status(status: ExchangeStatus) -> int:
    if status is ExchangeStatus.UPSTREAM_ERROR:
        return 529
    if status is ExchangeStatus.GATEWAY_ERROR:
        return 502
    return 0 if status is ExchangeStatus.ABANDONED else 200


def _ms(at: dt.datetime) -> int:
    return int(at.timestamp() * 1000)
