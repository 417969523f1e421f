"""The data plane: one request to `/v1/messages` from its first byte to its ledger event.

`Gateway.messages` reads as docs/path-of-an-exchange.md does: identify, read, permit, admit, relay,
settle. No ORM, no Django request and no thread on this way; two round trips to Valkey.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from keys.core import secret
from keys.core.access import (
    CatalogueModel,
    KeyPolicy,
    Maintenance,
    Network,
    Refusal,
    refuse_key,
    refuse_model,
)
from keys.core.limits import Denied, Reason
from keys.limiter import AdmissionUnknown, Limiter, LimiterUnavailable
from proxy.call import BodyStore, Call
from proxy.core.denial import rate_limited
from proxy.core.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    Unauthorized,
    Unavailable,
    UpstreamFailed,
)
from proxy.core.habit import Habit, input_tokens_max, learn, wanted
from proxy.core.headers import downstream_headers
from proxy.core.meter import StreamMeter
from proxy.core.request import MessagesRequest, input_bounded, read_messages
from proxy.core.selection import affinity
from proxy.core.upstream_error import translate
from proxy.exchange import Exchange
from proxy.policies import Policies, Published
from proxy.relay import Deadline, Ending, HungUp, Patience, TookTooLong, end_stream, relay
from proxy.settler import Settler
from proxy.upstream import Answer, UpstreamBroken
from proxy.upstreams import Ask, Held, Trail, Upstreams
from usage.core.event import ExchangeStatus, Opening, encode_opening

# Habits are guesses: losing the oldest of a hundred thousand costs one rough reservation.
HABITS_MAX = 100_000
# An upstream error body is a few hundred bytes; more than this is not an error message.
ERROR_BYTES_MAX = 1024 * 1024
# A client that waits for its answer may ask again before the store has seen its slot freed.
SLOT_WAIT_S = 0.025


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process takes on."""

    body_bytes_max: int
    body_seconds_max: float
    patience: Patience
    cache_read_weight_percent: int
    trusted_proxies: tuple[Network, ...]


class Gateway:
    """Handles `POST /v1/messages`."""

    def __init__(
        self,
        *,
        policies: Policies,
        limiter: Limiter,
        settler: Settler,
        upstreams: Upstreams,
        bounds: Bounds,
        bodies: BodyStore,
    ) -> None:
        self.policies = policies
        self.limiter = limiter
        self.upstreams = upstreams
        self.bounds = bounds
        self.bodies = bodies
        self._settler = settler
        self._habits: OrderedDict[tuple[int, str], Habit] = OrderedDict()

    async def messages(self, call: Call) -> None:
        """Answer one request."""
        call.extra_headers.append((b"x-cache", b"BYPASS"))
        policy = await self.identify(call)
        body = await self.read(call)
        try:
            request = read_messages(body)
            published = await self.policies.published()
            model = self.permit(policy, published, request.model)
            bounded = policy.strict and input_bounded(body)
            exchange = await self._admit(call, policy, published, model, request, bounded)
            await self._carry_out(call, exchange, body)
        finally:
            self.bodies.held -= len(body)

    # --- identify, read, permit: nothing is counted yet -----------------------------------------

    async def identify(self, call: Call) -> KeyPolicy:
        """Return the policy of the key the call came with. Raises `Unauthorized`, and `Unavailable`
        also for all who have no key that maintenance lets through.

        A live key in either header will do: Claude Code can send both with different values.
        """
        maintenance = (await self.policies.published()).maintenance
        if not maintenance.enabled:
            return await self._identify(call)
        # While it lasts, keys that cannot be looked up get the same answer as those kept out.
        with contextlib.suppress(Unauthorized, Unavailable):
            policy = await self._identify(call)
            if not maintenance.closes(policy):
                return policy
        raise under_maintenance(maintenance)

    async def _identify(self, call: Call) -> KeyPolicy:
        if not _offered(call):
            raise Unauthorized(
                "No API key. Send it in the x-api-key header or as Authorization: Bearer."
            )
        refused = "This is not a valid API key. Check that you copied all of it."
        for policy in await self.find(call):
            refusal = self.refuse(policy, call)
            if refusal is None:
                call.policy = policy
                return policy
            refused = _REFUSALS[refusal]
        raise Unauthorized(refused)

    async def find(self, call: Call) -> list[KeyPolicy]:
        """Return the policies of all keys the call came with, dead ones included."""
        shaped = [text for text in _offered(call) if secret.well_formed(text)]
        address = call.address(self.bounds.trusted_proxies)
        found = [await self.policies.find(secret.digest(text), address) for text in shaped]
        return [policy for policy in found if policy is not None]

    def refuse(self, policy: KeyPolicy, call: Call) -> Refusal | None:
        """Return why this key may not make this call at all, or `None`."""
        return refuse_key(policy, call.address(self.bounds.trusted_proxies), _now_ms())

    async def read(self, call: Call) -> bytes:
        """Return the body; whoever calls gives its bytes back to `self.bodies`."""
        encoding = call.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b""):
            raise BadRequest("Compressed request bodies are not supported. Send plain JSON.")
        return await call.read_body(
            self.bodies, self.bounds.body_bytes_max, self.bounds.body_seconds_max
        )

    def permit(self, policy: KeyPolicy, published: Published, model: str) -> CatalogueModel:
        """Return the catalogue's entry of `model`. Raises `Forbidden`, or `Unavailable` while the
        gateway is closed.
        """
        if published.maintenance.closes(policy):
            raise under_maintenance(published.maintenance)
        refusal = refuse_model(policy, published.catalogue, model)
        found = published.catalogue.find(model)
        if refusal is not None or found is None:
            allowed = [m.id for m in published.catalogue.allowed(policy)]
            raise Forbidden(
                f"This API key has no access to the model {model}."
                f" It may use: {', '.join(allowed[:20]) or 'none'}."
            )
        return found

    async def show_limits(self, call: Call) -> None:
        """Let the answer carry the limits of the key, if there is one and they can be read."""
        if call.policy is not None and call.verdict is None:
            with contextlib.suppress(LimiterUnavailable):
                call.verdict = await self.limiter.peek(call.policy)

    # --- admit --------------------------------------------------------------------------------

    async def _admit(
        self,
        call: Call,
        policy: KeyPolicy,
        published: Published,
        model: CatalogueModel,
        request: MessagesRequest,
        bounded: bool,
    ) -> Exchange:
        exchange = self._exchange(call, policy, published, model, request, bounded)
        for last in (False, True):
            verdict = await self._ask(exchange)
            if not isinstance(verdict, Denied):
                break
            if last or verdict.reason is not Reason.CONCURRENCY:
                call.verdict = verdict
                raise rate_limited(verdict)
            await asyncio.sleep(SLOT_WAIT_S)
        call.verdict = verdict
        self._settler.hold(exchange)
        return exchange

    async def _ask(self, exchange: Exchange):  # type: ignore[no-untyped-def]
        try:
            return await self.limiter.admit(
                exchange.policy, exchange.exchange_id, exchange.wanted, exchange.opening
            )
        except AdmissionUnknown as error:
            # The lease may have been taken: give it back, or the sweep would charge it.
            closing, _metered = exchange.closing(ExchangeStatus.GATEWAY_ERROR, "store_unavailable")
            self._settler.void(exchange.settlement(closing))
            raise limits_unknown() from error
        except LimiterUnavailable as error:
            raise limits_unknown() from error
        except asyncio.CancelledError:
            closing, _metered = exchange.closing(ExchangeStatus.GATEWAY_ERROR, "cancelled")
            self._settler.void(exchange.settlement(closing))
            raise

    def _exchange(
        self,
        call: Call,
        policy: KeyPolicy,
        published: Published,
        model: CatalogueModel,
        request: MessagesRequest,
        bounded: bool,
    ) -> Exchange:
        now_ms = _now_ms()
        habit = self._habits.get((policy.apikey_id, model.id)) or Habit()
        price = published.prices.price(model.id, request.body_bytes // 4, now_ms)
        most = input_tokens_max(request.body_bytes, bounded, model.context_window_tokens)
        hold = wanted(habit, request, price, input_tokens_max=most)
        exchange_id = call.request_id.removeprefix("req_")
        opening = Opening(
            exchange_id=exchange_id,
            apikey_id=policy.apikey_id,
            team_id=policy.team_id,
            model_requested=request.model,
            streamed=request.streamed,
            admitted_at_ms=now_ms,
            client_address=str(call.address(self.bounds.trusted_proxies) or ""),
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
            prices=published.prices,
            opening=encode_opening(opening),
            cache_read_weight_percent=self.bounds.cache_read_weight_percent,
            admitted_at_ms=now_ms,
        )

    # --- relay and settle -----------------------------------------------------------------------

    async def _carry_out(self, call: Call, exchange: Exchange, body: bytes) -> None:
        """Relay the exchange and settle it, once, whatever happens."""
        settle = _Once(self, exchange)
        try:
            async with Deadline(call, exchange.policy.hangup, self.bounds.patience):
                await self._relay(call, exchange, body, settle)
        except HungUp:
            settle(ExchangeStatus.HUNG_UP)
        except TookTooLong:
            settle(ExchangeStatus.GATEWAY_ERROR, "timeout_error")
            if not call.started:
                raise UpstreamFailed("The upstream did not answer in time.") from None
            await end_stream(call, "The exchange took longer than the gateway allows.")
        except GatewayError as error:
            settle(ExchangeStatus.UPSTREAM_ERROR, error.wire_type)
            raise
        finally:
            # A bug or a cancellation lands here with nothing settled yet.
            settle(ExchangeStatus.GATEWAY_ERROR, "api_error")
            await call.close()

    async def _relay(self, call: Call, exchange: Exchange, body: bytes, settle: "_Once") -> None:
        answer = await self.ask(call, exchange, body)
        try:
            if answer.status != 200:
                await self._pass_error(call, answer, settle)
                return

            def before_last() -> None:
                left = call.hung_up
                whole = exchange.meter is not None and exchange.meter.whole
                done = ExchangeStatus.COMPLETED if whole else ExchangeStatus.UPSTREAM_ERROR
                settle(ExchangeStatus.HUNG_UP if left else done)

            ending = await relay(
                call, exchange, answer, self.bounds.patience.ping_after_s, before_last
            )
            if ending is Ending.BROKEN:
                settle(ExchangeStatus.HUNG_UP if call.hung_up else ExchangeStatus.UPSTREAM_ERROR)
        finally:
            answer.finish()

    async def ask(self, call: Call, exchange: Exchange, body: bytes) -> Answer | Held:
        """Send the exchange to an account, and note in it what was tried.

        Raises `UpstreamFailed`, `Overloaded`.
        """
        exchange.sent_upstream = True
        trail, request = Trail(), exchange.request
        try:
            return await self.ask_upstream(
                call, "/v1/messages", body, exchange.model.id, trail, request.prefix
            )
        finally:
            exchange.attempts = tuple(trail.attempts)
            exchange.http_status = trail.http_status
            exchange.upstream = trail.account if trail.http_status else ""
            exchange.upstream_request_id = trail.request_id

    async def ask_upstream(
        self, call: Call, path: str, body: bytes, model: str, trail: Trail, prefix: bytes = b""
    ) -> Answer | Held:
        """Send the client's bytes to an account that serves `model`; return its answer, a 200 or
        the request's own fault. Raises `UpstreamFailed`, `Overloaded`.

        `prefix` is what the beginning of the conversation has for a digest.
        """
        assert call.policy is not None
        session_id = call.headers.get(b"x-claude-code-session-id", b"")
        belongs = affinity(call.policy.concurrencies[0].scope, session_id, prefix)
        ask = Ask(path, call.query, call.raw_headers, body, model, belongs)
        return await self.upstreams.ask(ask, trail)

    async def _pass_error(self, call: Call, answer: Answer | Held, settle: "_Once") -> None:
        body = await read_error(answer)
        translated = translate(answer.status, body, answer.header(b"retry-after").decode("latin-1"))
        if translated is not None:
            raise translated
        settle(ExchangeStatus.UPSTREAM_ERROR, "request")
        if not call.hung_up:
            await call.start(answer.status, downstream_headers(answer.headers))
            await call.write(body, more=False)

    def settle(self, exchange: Exchange, status: ExchangeStatus, error_type: str) -> None:
        """Charge the exchange as it stands and learn from it."""
        closing, metered = exchange.closing(status, error_type)
        self._settler.settle(exchange.settlement(closing))
        if metered.reported and not metered.estimated and exchange.meter is not None:
            self._learn(exchange, closing.usage)

    def _learn(self, exchange: Exchange, usage: Any) -> None:
        key = (exchange.policy.apikey_id, exchange.model.id)
        self._habits[key] = learn(
            self._habits.get(key) or exchange.habit,
            exchange.request,
            usage,
            exchange.meter.text.tokens if isinstance(exchange.meter, StreamMeter) else 0.0,
            self.bounds.cache_read_weight_percent,
        )
        self._habits.move_to_end(key)
        if len(self._habits) > HABITS_MAX:
            self._habits.popitem(last=False)


class _Once:
    """Settles an exchange at its first call; every later one does nothing."""

    __slots__ = ("_exchange", "_gateway", "_settled")

    def __init__(self, gateway: Gateway, exchange: Exchange) -> None:
        self._gateway, self._exchange, self._settled = gateway, exchange, False

    def __call__(self, status: ExchangeStatus, error_type: str = "") -> None:
        if not self._settled:
            self._settled = True
            self._gateway.settle(self._exchange, status, error_type)


async def read_error(answer: Answer | Held) -> bytes:
    """Return upstream's error body. Raises `UpstreamFailed` when it breaks off or is no such."""
    try:
        body = b""
        while len(body) < ERROR_BYTES_MAX and (piece := await answer.piece()):
            body += piece
    except UpstreamBroken as error:
        raise UpstreamFailed("The upstream broke off its answer.") from error
    return body


_REFUSALS = {
    Refusal.DISABLED: "This API key is disabled. Ask whoever issued it.",
    Refusal.EXPIRED: "This API key has expired. Ask whoever issued it for a new one.",
    Refusal.REVOKED: "This API key was revoked. Ask whoever issued it for a new one.",
    Refusal.ADDRESS: "This API key may not be used from this address.",
}


def _offered(call: Call) -> list[str]:
    found = []
    if b"x-api-key" in call.headers:
        found.append(call.headers[b"x-api-key"].decode("latin-1").strip())
    scheme, _, token = call.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        found.append(token.strip())
    return [text for text in found if text]


def under_maintenance(maintenance: Maintenance) -> Unavailable:
    """Return the 503 for while the gateway is closed."""
    return Unavailable(
        maintenance.message or "The gateway is under maintenance.",
        retry_after_s=maintenance.retry_after_s,
    )


def limits_unknown() -> Unavailable:
    """Return the 503 for when the store that limits depend on does not answer."""
    return Unavailable(
        "The gateway cannot check limits just now. Try again shortly.", retry_after_s=2
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
