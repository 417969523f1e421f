"""Carries out an admitted exchange, and settles it once, whatever happens.

Three ways to an answer: replay what the response cache has, follow an identical request that is in
flight, or lead: ask upstream and relay.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from proxy.call import Call
from proxy.core.cache_entry import Entry, encode, ttl_s
from proxy.core.errors import GatewayError, UpstreamFailed
from proxy.core.headers import Headers, downstream_headers
from proxy.core.meter import StreamMeter
from proxy.core.replay import replayed, storable
from proxy.core.upstream_error import translate
from proxy.exchange import Exchange
from proxy.flights import Flight, Flights, Follower, LeaderFailed
from proxy.habits import Habits
from proxy.relay import (
    Deadline,
    Ending,
    HungUp,
    Patience,
    Source,
    TookTooLong,
    end_stream,
    relay,
)
from proxy.response_cache import ResponseCache
from proxy.settler import Settler
from proxy.upstream import UpstreamBroken
from usage.core.event import Closing, ExchangeStatus
from usage.counting import tally

logger = logging.getLogger(__name__)

# An upstream error body is a few hundred bytes; more than this is not an error message.
ERROR_BYTES_MAX = 1024 * 1024
# How often followers may start anew when their leader fails before it has an answer.
TAKEOVERS_MAX = 1
REPLAY_PIECE_BYTES = 64 * 1024


class Ask(Protocol):
    """Sends the client's bytes upstream, and notes in the exchange what was tried."""

    async def __call__(self, call: Call, exchange: Exchange, body: bytes) -> Source: ...


class Carrier:
    """Answers admitted exchanges."""

    def __init__(
        self,
        *,
        ask: Ask,
        settler: Settler,
        habits: Habits,
        cache: ResponseCache,
        flights: Flights,
        patience: Patience,
    ) -> None:
        self._ask = ask
        self._settler = settler
        self._habits = habits
        self._cache = cache
        self._flights = flights
        self._patience = patience

    async def carry_out(self, call: Call, exchange: Exchange, body: bytes) -> None:
        """Answer the exchange and settle it."""
        settle = _Once(self._settle, exchange)
        try:
            async with Deadline(call, exchange.policy.hangup, self._patience) as deadline:
                if not await self._replay(call, exchange, settle):
                    await self._answer(call, exchange, body, settle, deadline)
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

    # --- replay ---------------------------------------------------------------------------------

    async def _replay(self, call: Call, exchange: Exchange, settle: "_Once") -> bool:
        """Answer from the response cache; return whether that was possible."""
        entry, streamed = exchange.original, exchange.request.streamed
        if entry is None:
            return False
        body = replayed(entry.body, streamed=entry.streamed, as_events=streamed)
        if body is None:
            exchange.looked_up(None)
            return False
        assert call.verdict is not None
        exchange.http_status = 200
        exchange.note_first_byte()
        closing = settle(ExchangeStatus.COMPLETED)
        age_s = max(0, call.verdict.now_ms - entry.stored_at_ms) // 1000
        saved = closing.saved_tokens if closing is not None else 0
        call.extra_headers = [
            *_hit_headers(exchange, age_s, max(0, entry.ttl_s - age_s)),
            (b"x-tokens-saved", b"%d" % saved),
        ]
        kind = b"text/event-stream; charset=utf-8" if streamed else b"application/json"
        headers: Headers = [(b"content-type", kind)]
        if streamed:
            headers.append((b"cache-control", b"no-cache"))
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        await call.start(200, headers)
        for first in range(0, len(body), REPLAY_PIECE_BYTES):
            piece = body[first : first + REPLAY_PIECE_BYTES]
            await call.write(piece, more=first + REPLAY_PIECE_BYTES < len(body))
        return True

    # --- follow or lead -------------------------------------------------------------------------

    async def _answer(
        self, call: Call, exchange: Exchange, body: bytes, settle: "_Once", deadline: Deadline
    ) -> None:
        if exchange.digest is None:
            await self._relay(call, exchange, body, settle, None)
            return
        call.extra_headers = [(b"x-cache", b"MISS")]
        # Either kind of answer can be stored for both, but only the same kind can be shared.
        name = f"{exchange.digest}{exchange.request.streamed:d}"
        failures = 0
        while (follower := self._flights.join(name)) is not None:
            try:
                await self._follow(call, exchange, follower, settle)
                return
            except LeaderFailed as failed:
                failures += 1
                if failures > TAKEOVERS_MAX:
                    raise failed.error or UpstreamFailed(
                        "The upstream did not answer. Try again shortly."
                    ) from None
            finally:
                follower.finish()
        await self._lead(call, exchange, body, settle, deadline, name)

    async def _follow(
        self, call: Call, exchange: Exchange, follower: Follower, settle: "_Once"
    ) -> None:
        if call.trace is not None:
            call.trace.noted("follows an identical request")
        await follower.begun()
        exchange.http_status = follower.status
        if follower.status == 200:
            exchange.sent_upstream = True
            exchange.share(follower.request_id)
            life_s = ttl_s(exchange.model.cache_ttl_s, exchange.wanted.input_tokens)
            call.extra_headers = _hit_headers(exchange, 0, life_s)
        await self._pass_on(call, exchange, follower, settle, None)

    async def _lead(
        self,
        call: Call,
        exchange: Exchange,
        body: bytes,
        settle: "_Once",
        deadline: Deadline,
        name: str,
    ) -> None:
        flight = self._flights.lead(name, call.request_id)
        deadline.carry(flight)
        try:
            await self._relay(call, exchange, body, settle, flight)
        except GatewayError as error:
            flight.fail(error)
            raise
        finally:
            flight.fail(None)  # Harmless when the answer has ended.
            if not flight.stored:
                flight.land()

    async def _relay(
        self, call: Call, exchange: Exchange, body: bytes, settle: "_Once", flight: Flight | None
    ) -> None:
        answer = await self._ask(call, exchange, body)
        try:
            if flight is not None:
                flight.begin(answer.status, answer.headers, answer.length)
            await self._pass_on(call, exchange, answer, settle, flight)
        finally:
            answer.finish()

    async def _pass_on(
        self,
        call: Call,
        exchange: Exchange,
        answer: Source,
        settle: "_Once",
        flight: Flight | None,
    ) -> None:
        if answer.status != 200:
            await _pass_error(call, answer, settle, flight)
            return
        ending = await relay(
            call,
            exchange,
            answer,
            self._patience.ping_after_s,
            self._before_last(call, exchange, settle, flight),
            flight,
        )
        if flight is not None:
            flight.end(broken=ending is Ending.BROKEN)
        if ending is Ending.BROKEN:
            settle(ExchangeStatus.HUNG_UP if call.hung_up else ExchangeStatus.UPSTREAM_ERROR)

    def _before_last(
        self, call: Call, exchange: Exchange, settle: "_Once", flight: Flight | None
    ) -> Callable[[], None]:
        """Return what is to be done before the last bytes go: from then on the client may ask
        again, and shall find its slot free and its answer kept.
        """

        def settle_and_keep() -> None:
            whole = exchange.meter is not None and exchange.meter.whole
            done = ExchangeStatus.COMPLETED if whole else ExchangeStatus.UPSTREAM_ERROR
            closing = settle(ExchangeStatus.HUNG_UP if call.hung_up else done)
            if closing is not None and whole and flight is not None:
                flight.end(broken=False)
                try:
                    self._keep(call, exchange, flight, closing)
                except Exception:
                    # The client shall have its last bytes, whatever is wrong with the cache.
                    logger.exception("an answer was not kept", extra=call.log_fields)

        return settle_and_keep

    def _keep(self, call: Call, exchange: Exchange, flight: Flight, closing: Closing) -> None:
        """Store the answer if that is safe. The flight can be joined until the store has it."""
        streamed, body, meter = call.streaming, flight.body, exchange.meter
        assert exchange.digest is not None
        assert call.verdict is not None
        fit = meter.keepable if isinstance(meter, StreamMeter) else storable(body, streamed)
        if closing.estimated or not body or not fit:
            return
        life_s = ttl_s(exchange.model.cache_ttl_s, closing.usage.prompt_tokens)
        entry = Entry(
            body=body,
            streamed=streamed,
            filled_by=call.request_id,
            stored_at_ms=call.verdict.now_ms + closing.total_ms,
            ttl_s=life_s,
            charged_tokens=closing.charged_tokens,
            cost_nanousd=closing.cost_nanousd,
            model_answered=closing.model_answered,
        )
        packed = encode(entry)
        if packed is None:
            return
        stored = self._cache.store(exchange.policy, exchange.digest, packed, life_s)
        if stored is not None:
            flight.stored = True
            stored.add_done_callback(lambda _reply: flight.land())

    def _settle(self, exchange: Exchange, status: ExchangeStatus, error_type: str) -> Closing:
        """Charge the exchange as it stands and learn from it."""
        closing, metered = exchange.closing(status, error_type)
        tally.exchange(exchange.model.id, closing)
        self._settler.settle(exchange.settlement(closing))
        if exchange.trace is not None:
            exchange.trace.settled(exchange.request, closing, metered, exchange.first_byte)
        ours = not exchange.cache_source and exchange.meter is not None
        if ours and metered.reported and not metered.estimated:
            self._habits.learn(exchange, closing.usage)
        return closing


class _Once:
    """Settles an exchange at its first call, and returns how; every later one does nothing."""

    __slots__ = ("_exchange", "_settle", "_settled")

    def __init__(
        self, settle: Callable[[Exchange, ExchangeStatus, str], Closing], exchange: Exchange
    ) -> None:
        self._settle, self._exchange, self._settled = settle, exchange, False

    def __call__(self, status: ExchangeStatus, error_type: str = "") -> Closing | None:
        if self._settled:
            return None
        self._settled = True
        return self._settle(self._exchange, status, error_type)


async def read_error(answer: Source) -> bytes:
    """Return upstream's error body. Raises `UpstreamFailed` when it breaks off or is no such."""
    try:
        body = b""
        while len(body) < ERROR_BYTES_MAX and (piece := await answer.piece()):
            body += piece
    except UpstreamBroken as error:
        raise UpstreamFailed("The upstream broke off its answer.") from error
    return body


def headers_of(answer: Source, body: bytes) -> Headers:
    """Return what the client gets of upstream's headers with as much of the body as was read."""
    passed = downstream_headers(answer.headers)
    length = (b"content-length", b"%d" % len(body))
    return [pair for pair in passed if pair[0] != length[0]] + [length]


async def _pass_error(call: Call, answer: Source, settle: _Once, flight: Flight | None) -> None:
    body = await read_error(answer)
    if flight is not None:
        flight.feed(body)
        flight.end(broken=False)
    retry_after = answer.header(b"retry-after").decode("latin-1")
    translated = translate(answer.status, body, retry_after)
    if translated is not None:
        raise translated
    settle(ExchangeStatus.UPSTREAM_ERROR, "request")
    if not call.hung_up:
        await call.start(answer.status, headers_of(answer, body))
        await call.write(body, more=False)


def _hit_headers(exchange: Exchange, age_s: int, left_s: int) -> Headers:
    return [
        (b"x-cache", b"HIT"),
        (b"x-cache-ttl", b"%d" % left_s),
        (b"age", b"%d" % age_s),
        (b"x-cache-source", exchange.cache_source.encode()),
    ]
