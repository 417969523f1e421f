"""Lets exchanges in: what an exchange will want, one question to the store, a wait for a slot.

The question to the limiter and the look into the response cache leave in one write. A denial moves
no counter, so asking again is free of side effects.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keys.core.access import CatalogueModel, KeyPolicy
from keys.core.limits import Admitted, Denied, Reason
from keys.limiter import AdmissionUnknown, Limiter, LimiterUnavailable
from proxy.call import Call, ClientGone
from proxy.core.charge import price_ahead
from proxy.core.denial import rate_limited
from proxy.core.errors import Unavailable
from proxy.core.habit import input_tokens_max, wanted
from proxy.core.request import MessagesRequest
from proxy.exchange import Exchange
from proxy.habits import Habits
from proxy.policies import Published
from proxy.response_cache import ResponseCache
from proxy.settler import InFlight, Settler
from proxy.waiting import Waiting
from usage.core.event import ExchangeStatus, Opening, encode_opening

# A client that waits for its answer may ask again before the store has seen its slot freed.
SLOT_WAIT_S = 0.025

Held = TypeVar("Held", bound=InFlight)


@dataclass(frozen=True, slots=True)
class Asked:
    """A permitted request. `digest` is its name in the response cache, `None` to bypass it;
    `bounded` says that its input cannot be larger than its bytes.
    """

    call: Call
    policy: KeyPolicy
    published: Published
    model: CatalogueModel
    request: MessagesRequest
    bounded: bool
    digest: str | None
    client_address: str


class Admission:
    """Admits exchanges, each holding a lease and its reservations from then on."""

    def __init__(
        self,
        *,
        limiter: Limiter,
        settler: Settler,
        cache: ResponseCache,
        habits: Habits,
        waiting: Waiting,
        cache_read_weight_percent: int,
    ) -> None:
        self._limiter = limiter
        self._settler = settler
        self._cache = cache
        self._habits = habits
        self._waiting = waiting
        self._cache_read_weight_percent = cache_read_weight_percent

    async def admit(self, asked: Asked) -> Exchange:
        """Return the exchange that was let in. Raises `RateLimited`, `Unavailable`, `ClientGone`.

        What the response cache has for it is in `exchange.original`.
        """
        policy = asked.policy
        if policy.wait_s and self._waiting.queued(policy):
            exchange, verdict = await self._wait(asked, None)
        else:
            exchange, verdict = await self._ask(asked)
            if _no_slot(verdict):
                if policy.wait_s:
                    exchange, verdict = await self._wait(asked, (exchange, verdict))
                else:
                    await asyncio.sleep(SLOT_WAIT_S)
                    exchange, verdict = await self._ask(asked)
        asked.call.verdict = verdict
        if isinstance(verdict, Denied):
            raise rate_limited(verdict)
        self._settler.hold(exchange)
        return exchange

    async def _wait(
        self, asked: Asked, answer: tuple[Exchange, Admitted | Denied] | None
    ) -> tuple[Exchange, Admitted | Denied]:
        """Ask until there is a slot, in turn with the key's others, as long as the key may wait."""
        place = self._waiting.join(asked.policy)
        if place is None:
            return answer or await self._ask(asked)
        if asked.call.trace is not None:
            asked.call.trace.noted("waits for a slot")
        until = time.monotonic() + asked.policy.wait_s
        try:
            asked.call.watch(place.call)
            while answer is None or (_no_slot(answer[1]) and time.monotonic() < until):
                if answer is not None or not self._waiting.first(place):
                    await place.wait(max(0.0, until - time.monotonic()))
                if asked.call.hung_up:
                    raise ClientGone
                if self._waiting.first(place) or time.monotonic() >= until:
                    answer = await self._ask(asked)
            return answer
        finally:
            self._waiting.leave(place)

    async def _ask(self, asked: Asked) -> tuple[Exchange, Admitted | Denied]:
        exchange = self._exchange(asked)
        look = self._cache.look_up(asked.policy, asked.digest) if asked.digest else None
        verdict = await self._decide(exchange)
        if look is not None and not isinstance(verdict, Denied):
            entry = await look.entry()
            exchange.looked_up(entry)
        return exchange, verdict

    async def _decide(self, exchange: Exchange) -> Admitted | Denied:
        return await decide(self._limiter, exchange, self._void)

    def _void(self, exchange: Exchange, error_type: str) -> None:
        closing, _metered = exchange.closing(ExchangeStatus.GATEWAY_ERROR, error_type)
        self._settler.void(exchange.settlement(closing))

    def _exchange(self, asked: Asked) -> Exchange:
        call, policy, request, model = asked.call, asked.policy, asked.request, asked.model
        now_ms = time.time_ns() // 1_000_000
        habit = self._habits.of(policy.apikey_id, model.id)
        most = input_tokens_max(request.body_bytes, asked.bounded, model.context_window_tokens)
        prices = asked.published.prices
        hold = wanted(
            habit,
            request,
            price_ahead(prices, request, model.id, request.body_bytes // 4, now_ms),
            input_tokens_max=most,
            price_most=price_ahead(prices, request, model.id, most, now_ms),
        )
        exchange_id = call.request_id.removeprefix("req_")
        opening = Opening(
            exchange_id=exchange_id,
            apikey_id=policy.apikey_id,
            team_id=policy.team_id,
            model_requested=request.model,
            streamed=request.streamed,
            admitted_at_ms=now_ms,
            client_address=asked.client_address,
            client_agent=call.text(b"user-agent"),
            session_id=call.text(b"x-claude-code-session-id", 64),
            agent_id=call.text(b"x-claude-code-agent-id", 64),
            parent_agent_id=call.text(b"x-claude-code-parent-agent-id", 64),
            input_tokens_estimate=hold.input_tokens,
            cost_nanousd_estimate=hold.input_nanousd,
        )
        return Exchange(
            exchange_id=exchange_id,
            policy=policy,
            model=model,
            request=request,
            wanted=hold,
            habit=habit,
            prices=prices,
            opening=encode_opening(opening),
            cache_read_weight_percent=self._cache_read_weight_percent,
            admitted_at_ms=now_ms,
            digest=asked.digest,
            trace=call.trace,
        )


async def decide(
    limiter: Limiter, exchange: Held, void: Callable[[Held, str], None]
) -> Admitted | Denied:
    """Ask the store whether the exchange is let in; `void` gives back what nobody knows of.

    Raises `Unavailable`.
    """
    try:
        return await limiter.admit(
            exchange.policy, exchange.exchange_id, exchange.wanted, exchange.opening
        )
    except AdmissionUnknown as error:
        # The lease may have been taken: give it back, or the sweep would charge it.
        void(exchange, "store_unavailable")
        raise limits_unknown() from error
    except LimiterUnavailable as error:
        raise limits_unknown() from error
    except asyncio.CancelledError:
        void(exchange, "cancelled")
        raise


def limits_unknown() -> Unavailable:
    """Return the 503 for when the store that limits depend on does not answer."""
    return Unavailable(
        "The gateway cannot check limits just now. Try again shortly.", retry_after_s=2
    )


def _no_slot(verdict: Admitted | Denied) -> bool:
    return isinstance(verdict, Denied) and verdict.reason is Reason.CONCURRENCY
