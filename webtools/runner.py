"""Runs web tools for keys: permit, admit, look into the cache, ask Tavily, settle.

The path of an exchange (docs/path-of-an-exchange.md) with Tavily in Claude's place: the same
limits, the same script that charges, the same event stream. Every call that was admitted ends in
the ledger exactly once, whatever happens.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from keys.core.access import KeyPolicy
from keys.core.limits import Admitted, Denied, Limit, Reason, Unit, Wanted
from keys.link import LinkDown, ReplyLost
from proxy.admission import SLOT_WAIT_S, decide
from proxy.application import Parts
from proxy.call import Call, new_id
from proxy.core.denial import rate_limited
from proxy.core.errors import BadRequest, Forbidden, NeverAdmitted, RateLimited, duration
from proxy.gateway import Gateway, no_cache
from proxy.response_cache import entry_name
from proxy.trace import Trace
from usage.core.event import CacheOutcome, ExchangeStatus, Opening, encode_opening
from usage.counting import tally
from webtools.core import stored
from webtools.core.calls import ToolCall, credits_used
from webtools.core.stored import TTL_S, Stored
from webtools.exchange import ToolExchange
from webtools.tavily import Credential, NotConfigured, TavilyClient, TavilyError
from webtools.terms import Terms, TermsOfKeys

DAY_S = 86_400
# A key of Tavily's has some 40.
TAVILY_KEY_CHARS_MAX = 200
MODEL_PREFIX = "tavily-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what the ledger shall know of the client. `own_secret` is a Tavily key that
    the caller brought along, "" for none; `tool_use_id` is how Claude named the call, if it was
    Claude who asked for it.
    """

    policy: KeyPolicy
    client_address: str = ""
    client_agent: str = ""
    session_id: str = ""
    own_secret: str = ""
    no_cache: bool = False
    trace: Trace | None = None
    tool_use_id: str = ""


def caller_of(call: Call, policy: KeyPolicy, gateway: Gateway) -> Caller:
    """Return who calls, wherever they do. Raises `BadRequest` for a Tavily key that cannot be one.

    Not `Unauthorized`: the key of ours is right, and clients would ask people for another.
    """
    own = call.text(b"x-tavily-api-key", TAVILY_KEY_CHARS_MAX).strip()
    if not own.isascii():
        raise BadRequest("X-Tavily-Api-Key holds a character that no key has.")
    return Caller(
        policy=policy,
        client_address=gateway.kept_address(call),
        client_agent=call.text(b"user-agent"),
        session_id=call.text(b"x-claude-code-session-id", 64),
        own_secret=own,
        no_cache=no_cache(call),
        trace=call.trace,
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call brought: Tavily's object as it came, and what the call was charged."""

    answer: dict[str, Any]
    exchange_id: str
    credits: int
    cost_nanousd: int
    cached: bool
    verdict: Admitted


class WebTools:
    """Runs calls, each admitted and settled on its own."""

    def __init__(self, parts: Parts, tavily: TavilyClient) -> None:
        self._parts = parts
        self._tavily = tavily
        self._terms = TermsOfKeys(parts.database)

    async def terms(self, policy: KeyPolicy) -> Terms:
        """Return what holds for the web tools of a key. Raises `Unavailable`."""
        return await self._terms.find(policy.apikey_id)

    def some_always(self) -> bool:
        """Return whether any key's messages get web tools unasked. Asks nobody."""
        return self._terms.some_always()

    async def run(self, caller: Caller, call: ToolCall, exchange_id: str = "") -> Ran:
        """Run the call and settle it. To cancel it is to hang up.

        Raises `GatewayError` when it may not be made, `TavilyError` when it brought nothing.
        """
        terms = await self.terms(caller.policy)
        credential = permit(terms, caller.own_secret)
        price = 0 if credential.own else terms.credit_nanousd(time.time_ns() // 1_000_000)
        exchange, verdict = await self._admit(caller, call, terms, price, exchange_id or new_id())
        if caller.trace is not None:
            exchange.run = caller.trace.runs(call.tool, caller.tool_use_id)
        settled = False
        try:
            ran = await self._carry_out(caller, call, exchange, credential, price, verdict)
            settled = True
            return ran
        except TavilyError as error:
            exchange.http_status = error.http_status
            cost = call.credits_max * price if error.charged else 0
            self._settle(
                exchange,
                ExchangeStatus.UPSTREAM_ERROR,
                cost_nanousd=cost,
                estimated=error.charged,
                error_type=type(error).__name__,
            )
            settled = True
            raise
        except asyncio.CancelledError:
            # Tavily works on, and charges for it.
            cost = call.credits_max * price if exchange.asked else 0
            self._settle(exchange, ExchangeStatus.HUNG_UP, cost_nanousd=cost, estimated=True)
            settled = True
            raise
        finally:
            if not settled:
                self._settle(exchange, ExchangeStatus.GATEWAY_ERROR, error_type="api_error")

    # --- admit ----------------------------------------------------------------------------------

    async def _admit(
        self, caller: Caller, call: ToolCall, terms: Terms, price: int, exchange_id: str
    ) -> tuple[ToolExchange, Admitted]:
        exchange = _exchange(caller, call, terms, price, exchange_id)
        verdict = await self._decide(exchange)
        if _no_slot(verdict):
            verdict = await self._wait(exchange, verdict)
        if isinstance(verdict, Denied):
            raise _denied(verdict)
        self._parts.settler.hold(exchange)
        return exchange, verdict

    async def _wait(self, exchange: ToolExchange, verdict: Admitted | Denied) -> Admitted | Denied:
        """Ask until there is a slot, in turn with the key's others, as long as the key may wait."""
        waiting, policy = self._parts.waiting, exchange.policy
        place = waiting.join(policy) if policy.wait_s else None
        if place is None:
            await asyncio.sleep(SLOT_WAIT_S)
            return await self._decide(exchange)
        until = time.monotonic() + policy.wait_s
        try:
            while _no_slot(verdict) and time.monotonic() < until:
                await place.wait(max(0.0, until - time.monotonic()))
                if waiting.first(place):
                    verdict = await self._decide(exchange)
            return verdict
        finally:
            waiting.leave(place)

    async def _decide(self, exchange: ToolExchange) -> Admitted | Denied:
        return await decide(self._parts.limiter, exchange, self._void)

    def _void(self, exchange: ToolExchange, error_type: str) -> None:
        closing = exchange.closing(ExchangeStatus.GATEWAY_ERROR, error_type=error_type)
        self._parts.settler.void(exchange.settlement(closing))

    # --- carry out ------------------------------------------------------------------------------

    async def _carry_out(
        self,
        caller: Caller,
        call: ToolCall,
        exchange: ToolExchange,
        credential: Credential,
        price: int,
        verdict: Admitted,
    ) -> Ran:
        # Results that somebody else's account paid for are nobody's to share.
        cacheable = caller.policy.cache and not caller.no_cache and not credential.own
        name = entry_name(caller.policy, stored.digest(call)) if cacheable else ""
        known = await self._look_up(name)
        if known is not None:
            return self._replay(exchange, known, verdict)
        exchange.cache = CacheOutcome.MISS if cacheable else CacheOutcome.BYPASS
        exchange.asked = True
        answer = await self._tavily.call(call, credential)
        exchange.http_status = 200
        exchange.upstream_request_id = str(answer.get("request_id", ""))[:200]
        credits = credits_used(call, answer)
        cost = credits * price
        self._settle(exchange, ExchangeStatus.COMPLETED, cost_nanousd=cost)
        self._keep(name, call, Stored(f"req_{exchange.exchange_id}", credits, cost, answer))
        return Ran(answer, exchange.exchange_id, credits, cost, cached=False, verdict=verdict)

    def _replay(self, exchange: ToolExchange, known: Stored, verdict: Admitted) -> Ran:
        exchange.http_status = 200
        exchange.cache, exchange.cache_source = CacheOutcome.HIT, known.filled_by
        cost = -(-known.cost_nanousd * settings.CACHE_READ_WEIGHT_PERCENT // 100)
        self._settle(
            exchange,
            ExchangeStatus.COMPLETED,
            cost_nanousd=cost,
            saved_nanousd=known.cost_nanousd - cost,
        )
        return Ran(known.answer, exchange.exchange_id, 0, cost, cached=True, verdict=verdict)

    async def _look_up(self, name: str) -> Stored | None:
        if not name:
            return None
        try:
            entry = await self._parts.limiter.link.post(b"GET", name)
        except (LinkDown, ReplyLost, RedisError):
            return None  # A cache that fails is a miss, never an error.
        return None if entry is None else stored.decode(entry)

    def _keep(self, name: str, call: ToolCall, found: Stored) -> None:
        entry = stored.encode(found) if name else None
        if entry is None:
            return
        try:
            kept = self._parts.limiter.link.post(b"SET", name, entry, b"EX", TTL_S[call.tool])
        except LinkDown:
            return
        kept.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _settle(self, exchange: ToolExchange, status: ExchangeStatus, **charge: Any) -> None:
        closing = exchange.closing(status, **charge)
        tally.tool_call(exchange.model, closing)
        if exchange.run is not None:
            exchange.run.ended(f"req_{exchange.exchange_id}", closing)
        self._parts.settler.settle(exchange.settlement(closing))


def permit(terms: Terms, own_secret: str = "") -> Credential:
    """Return the credential to call with. Raises `Forbidden`, `NotConfigured`."""
    if not terms.enabled:
        raise Forbidden("Web tools are switched off for this API key. Ask whoever issued it.")
    if own_secret:
        return Credential(settings.TAVILY_BASE_URL, own_secret, own=True)
    if terms.credential is None:
        raise NotConfigured(
            "Web tools are not set up on this gateway: its operator has stored no Tavily"
            " credential. Send a Tavily key of your own in X-Tavily-Api-Key, or ask the operator."
        )
    return terms.credential


def _exchange(
    caller: Caller, call: ToolCall, terms: Terms, price: int, exchange_id: str
) -> ToolExchange:
    policy, nanousd = caller.policy, call.credits_max * price
    if terms.calls_per_day is not None:
        daily = Limit(policy.concurrencies[0].scope, Unit.COUNTS, DAY_S, terms.calls_per_day)
        policy = replace(policy, limits=(*policy.limits, daily))
    model = f"{MODEL_PREFIX}{call.tool}"
    opening = Opening(
        exchange_id=exchange_id,
        apikey_id=policy.apikey_id,
        team_id=policy.team_id,
        model_requested=model,
        streamed=False,
        admitted_at_ms=time.time_ns() // 1_000_000,
        client_address=caller.client_address,
        client_agent=caller.client_agent,
        session_id=caller.session_id,
        agent_id="",
        parent_agent_id="",
        input_tokens_estimate=0,
        cost_nanousd_estimate=nanousd,
    )
    wanted = Wanted(0, 0, nanousd, nanousd, 0, nanousd)
    return ToolExchange(exchange_id, policy, wanted, encode_opening(opening), model)


def _no_slot(verdict: Admitted | Denied) -> bool:
    return isinstance(verdict, Denied) and verdict.reason is Reason.CONCURRENCY


def _denied(denied: Denied) -> RateLimited:
    if denied.reason is not Reason.COUNTS:
        return rate_limited(denied)
    if denied.retry_at_ms is None:
        return NeverAdmitted("This API key may make no calls of web tools. Ask whoever issued it.")
    wait_s = max(1, -(-(denied.retry_after_ms or 0) // 1000))
    return RateLimited(
        f"This API key may make {denied.limit:,} calls of web tools in 24 hours."
        f" Try again in {duration(wait_s)}.",
        retry_after_s=wait_s,
    )
