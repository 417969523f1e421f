"""The data plane: one request to `/v1/messages` from its first byte to its ledger event.

`Gateway.messages` reads as docs/path-of-an-exchange.md does: identify, read, permit, admit, relay,
settle. No ORM, no Django request and no thread on this way; two round trips to Valkey.
"""

import contextlib
import time
from dataclasses import dataclass
from typing import Protocol

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
from keys.core.addresses import Addresses, kept
from keys.limiter import Limiter, LimiterUnavailable
from proxy.admission import Admission, Asked
from proxy.call import BodyStore, Call
from proxy.carrier import Carrier
from proxy.core.cache_key import cache_key
from proxy.core.errors import (
    BadRequest,
    Forbidden,
    Unauthorized,
    Unavailable,
)
from proxy.core.request import (
    MessagesRequest,
    Parsed,
    input_bounded,
    messages_request,
    parse_body,
)
from proxy.core.selection import affinity
from proxy.exchange import Exchange
from proxy.flights import Flights
from proxy.habits import Habits
from proxy.policies import Policies, Published
from proxy.relay import Patience
from proxy.response_cache import ResponseCache
from proxy.settler import Settler
from proxy.upstream import Answer
from proxy.upstreams import Ask, Held, Trail, Upstreams
from proxy.waiting import Waiting
from usage.counting import tally


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process takes on."""

    body_bytes_max: int
    body_seconds_max: float
    patience: Patience
    cache_read_weight_percent: int
    flights_bytes_max: int
    trusted_proxies: tuple[Network, ...]
    addresses: Addresses


class Tools(Protocol):
    """Runs tools for requests that bring none of their own, and answers in the gateway's place."""

    def wanted(self, call: Call, policy: KeyPolicy) -> bool:
        """Return whether the call may get tools. Every call is asked about."""

    async def answer(self, call: Call, policy: KeyPolicy, body: bytes) -> bool:
        """Answer with tools; return whether that was possible."""


class Gateway:
    """Handles `POST /v1/messages`. `tools` is given by whoever has some."""

    def __init__(
        self,
        *,
        policies: Policies,
        limiter: Limiter,
        settler: Settler,
        waiting: Waiting,
        upstreams: Upstreams,
        bounds: Bounds,
        bodies: BodyStore,
    ) -> None:
        self.policies = policies
        self.limiter = limiter
        self.upstreams = upstreams
        self.bounds = bounds
        self.bodies = bodies
        self.tools: Tools | None = None
        habits, cache = Habits(), ResponseCache(limiter.link)
        self.admission = Admission(
            limiter=limiter,
            settler=settler,
            cache=cache,
            habits=habits,
            waiting=waiting,
            cache_read_weight_percent=bounds.cache_read_weight_percent,
        )
        self.carrier = Carrier(
            ask=self.ask,
            settler=settler,
            habits=habits,
            cache=cache,
            flights=Flights(bounds.flights_bytes_max),
            patience=bounds.patience,
        )

    async def messages(self, call: Call) -> None:
        """Answer one request."""
        call.extra_headers = [(b"x-cache", b"BYPASS")]
        policy = await self.identify(call)
        body = await self.read(call)
        try:
            if await self._with_tools(call, policy, body):
                return
            asked = await self.asked(call, policy, body)
            exchange = await self.admission.admit(asked)
            await self.carrier.carry_out(call, exchange, body)
        finally:
            self.bodies.held -= len(body)

    async def _with_tools(self, call: Call, policy: KeyPolicy, body: bytes) -> bool:
        tools = self.tools
        if tools is None or not tools.wanted(call, policy):
            return False
        return await tools.answer(call, policy, body)

    async def asked(
        self, call: Call, policy: KeyPolicy, body: bytes, *, cached: bool = True
    ) -> Asked:
        """Return the request as it is permitted; not `cached`, it bypasses the response cache.

        What was parsed of it ends here: it takes many times the room of the body.
        """
        parsed = parse_body(body)
        published = await self.policies.published()
        # Only a choice among accounts asks which conversation this is, if the client does not say.
        told = b"x-claude-code-session-id" in call.headers
        request = messages_request(parsed, prefixed=not told and len(published.accounts) > 1)
        model = self.permit(policy, published, request.model)
        self._permit_others(policy, published, request)
        return Asked(
            call=call,
            policy=policy,
            published=published,
            model=model,
            request=request,
            bounded=policy.strict and input_bounded(body),
            digest=_digest(call, policy, model, parsed) if cached else None,
            client_address=self.kept_address(call),
        )

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

    def kept_address(self, call: Call) -> str:
        """Return what is stored of the client's address."""
        return kept(call.address(self.bounds.trusted_proxies), self.bounds.addresses)

    def refuse(self, policy: KeyPolicy, call: Call) -> Refusal | None:
        """Return why this key may not make this call at all, or `None`."""
        return refuse_key(policy, call.address(self.bounds.trusted_proxies), _now_ms())

    async def read(self, call: Call) -> bytes:
        """Return the body; whoever calls gives its bytes back to `self.bodies`."""
        encoding = call.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b""):
            raise BadRequest("Compressed request bodies are not supported. Send plain JSON.")
        body = await call.read_body(
            self.bodies, self.bounds.body_bytes_max, self.bounds.body_seconds_max
        )
        call.read_at = time.monotonic()
        return body

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

    def _permit_others(
        self, policy: KeyPolicy, published: Published, request: MessagesRequest
    ) -> None:
        """Raise `Forbidden` for models that upstream would ask beside the one that answers."""
        if request.own_fallbacks and policy.models:
            raise Forbidden(
                "This API key may not leave the choice of fallbacks to the upstream. Name them."
            )
        for model in (*request.fallbacks, *request.advisers):
            self.permit(policy, published, model)

    async def show_limits(self, call: Call) -> None:
        """Let the answer carry the limits of the key, if there is one and they can be read."""
        if call.policy is not None and call.verdict is None:
            with contextlib.suppress(LimiterUnavailable):
                call.verdict = await self.limiter.peek(call.policy)

    # --- upstream -------------------------------------------------------------------------------

    async def ask(self, call: Call, exchange: Exchange, body: bytes) -> Answer | Held:
        """Send the exchange to an account, and note in it what was tried.

        Raises `UpstreamFailed`, `Overloaded`.
        """
        exchange.sent_upstream = True
        if call.read_at:
            tally.overhead.observe(time.monotonic() - call.read_at)
            call.read_at = 0.0  # What else is asked for this call comes after upstream's time.
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
        ask = Ask(
            path, call.query, call.raw_headers, body, model, belongs, call.request_id, call.trace
        )
        return await self.upstreams.ask(ask, trail)


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


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _digest(call: Call, policy: KeyPolicy, model: CatalogueModel, parsed: Parsed) -> str | None:
    """Return the name of the request in the response cache, `None` to bypass it."""
    if not policy.cache or not model.cache_ttl_s or no_cache(call):
        return None
    return cache_key(parsed, headers=call.raw_headers, query=call.query, scope=policy.cache_scope)


def no_cache(call: Call) -> bool:
    """Return whether the client wants an answer that nobody had before."""
    return call.headers.get(b"x-no-cache", b"").strip().lower() in (b"true", b"1", b"yes")
