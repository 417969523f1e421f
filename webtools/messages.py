"""Web tools inside Messages: the gateway runs what Claude asks for, and answers once.

A request gets web tools when it brings no tools of its own and asks for them with
`X-ClaudCode-Tools: web`, while a tool session of its key is open, or always, where an operator says
so (`ToolRule.always`). Each round between Claude and
the tools is an exchange of its own, admitted, charged and recorded as any other; so is each call
of a tool. Only the request itself counts towards the requests per minute of its key, not the
rounds that follow. The key is looked up anew for each, so one that is revoked or has spent its
budget goes no further.

The first round carries the request's id. Every round is streamed from upstream, whatever the
client asked for; nothing of it is shared or kept in the response cache.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from django.conf import settings

from keys.core.access import KeyPolicy
from keys.core.limits import Unit
from proxy.admission import Asked
from proxy.call import Call, ClientGone, new_id
from proxy.core.errors import (
    BadRequest,
    GatewayError,
    Overloaded,
    Unavailable,
    UpstreamFailed,
    error_event,
)
from proxy.core.headers import Headers
from proxy.core.request import messages_request, parse_body
from proxy.gateway import Gateway
from proxy.relay import LAST_WORD_SECONDS_MAX, Pinger
from webtools.core.calls import BadArguments, tool_call
from webtools.core.inside import MODEL_TOOLS, RESULT_CHARS_MAX, TOOLS, arguments_of
from webtools.core.results import as_text, bounded
from webtools.core.rounds import BadRound, Result, Rounds, Use, first_body, next_body
from webtools.runner import Caller, WebTools, caller_of, permit
from webtools.tavily import NotConfigured, TavilyError

# The key's other requests may take the slot between two rounds; so long is waited to get it back.
SLOT_WAIT_S = 15
# An error body of upstream's is a few hundred bytes.
REFUSAL_BYTES_MAX = 1024 * 1024
MESSAGE_CHARS_MAX = 1000
HEADER = b"x-claudcode-tools"
WANTED = b"web"
UNWANTED = b"off"

T = TypeVar("T")
Json = dict[str, Any]


class WebMessages:
    """Answers the requests to `/v1/messages` that get web tools."""

    def __init__(
        self, gateway: Gateway, tools: WebTools, has_session: Callable[[int], bool]
    ) -> None:
        self.gateway = gateway
        self.tools = tools
        self._has_session = has_session

    def wanted(self, call: Call, policy: KeyPolicy) -> bool:
        """Return whether the call may get web tools. Asks nobody: every request comes by here."""
        asked = HEADER in call.headers or self._has_session(policy.apikey_id)
        return asked or self.tools.some_always()

    async def answer(self, call: Call, policy: KeyPolicy, body: bytes) -> bool:
        """Answer with web tools; return whether that was possible."""
        named = call.headers.get(HEADER, b"").strip().lower()
        if named not in (b"", WANTED, UNWANTED):
            raise BadRequest("X-ClaudCode-Tools: must be web or off.")
        caller = caller_of(call, policy, self.gateway)
        if named == UNWANTED or not await self._permitted(caller, asked=named == WANTED):
            return False
        parsed = parse_body(body)
        if parsed.fields.get("tools"):
            return False
        streamed = messages_request(parsed, prefixed=False).streamed
        first = first_body(parsed.fields, TOOLS)
        del parsed  # It takes many times the room of the body.
        await _Conversation(self, call, caller, streamed=streamed).carry_out(first)
        return True

    async def _permitted(self, caller: Caller, *, asked: bool) -> bool:
        """Return whether the key gets web tools now. Raises `GatewayError` to who `asked` and may
        not; who did not ask is answered without.
        """
        apikey_id = caller.policy.apikey_id
        try:
            terms = await self.tools.terms(caller.policy)
            permit(terms, caller.own_secret)
        except (GatewayError, NotConfigured) as error:
            if not asked:
                return False
            if isinstance(error, NotConfigured):
                raise Unavailable(error.message) from None
            raise
        return asked or terms.always or self._has_session(apikey_id)


class _Conversation:
    """One request, and the rounds that answer it."""

    def __init__(self, owner: WebMessages, call: Call, caller: Caller, *, streamed: bool) -> None:
        self._gateway, self._tools = owner.gateway, owner.tools
        self._call, self._caller, self._streamed = call, caller, streamed
        self._rounds = Rounds(MODEL_TOOLS)
        self._gone = asyncio.Event()
        self._ran: list[Json] = []
        self._until = time.monotonic() + settings.WEB_TOOLS_SECONDS_MAX

    async def carry_out(self, body: bytes) -> None:
        """Answer the request."""
        self._call.watch(self._gone.set)
        try:
            await self._converse(body)
        except ClientGone:
            pass
        except (GatewayError, BadRound) as error:
            await self._fail(error)
        finally:
            await self._call.close()

    async def _converse(self, body: bytes) -> None:
        more = True
        while more:
            self._rounds.next_round()
            with self._held(body):
                more = await self._round(body)
                if more:
                    body = await self._next(body)
        if not self._gone.is_set() and self._rounds.ended and self._rounds.error is None:
            await self._finish()

    @contextlib.contextmanager
    def _held(self, body: bytes) -> Iterator[None]:
        """Count the body among those that the process holds."""
        self._gateway.bodies.held += len(body)
        try:
            yield
        finally:
            self._gateway.bodies.held -= len(body)

    # --- a round --------------------------------------------------------------------------------

    async def _round(self, body: bytes) -> bool:
        """Ask Claude and pass on what it says; return whether it wants tools."""
        turn = _Turn(self._call, self._rounds, self._gone, streamed=self._streamed)
        asked = await self._asked(turn, body)
        try:
            exchange = await self._gateway.admission.admit(asked)
        finally:
            if turn.first:
                self._call.verdict = turn.verdict
        await self._gateway.carrier.carry_out(turn, exchange, body)
        if turn.refusal is not None:
            await self._pass_refusal(turn)
            return False
        if self._rounds.error is not None and not self._streamed:
            raise _failure(*self._rounds.error)
        if turn.hung_up or self._rounds.error is not None:
            return False
        if not self._rounds.ended:
            raise UpstreamFailed("The upstream broke off its answer.")
        return bool(self._rounds.uses)

    async def _asked(self, turn: "_Turn", body: bytes) -> Asked:
        # As long as a conversation takes, its key may be revoked or the gateway be closed.
        policy = await self._gateway.identify(self._call)
        turn.policy = policy
        if not turn.first:
            policy = _continued(policy)
        return await self._gateway.asked(turn, policy, body, cached=False)

    async def _pass_refusal(self, turn: "_Turn") -> None:
        """Give the client upstream's word about the request; in a stream, as an error event."""
        if self._call.started:
            raise UpstreamFailed(_message_of(turn.refusal or b""))
        await self._call.start(turn.status, turn.headers_given)
        await self._call.write(turn.refusal or b"", more=False)

    # --- tools ----------------------------------------------------------------------------------

    async def _next(self, body: bytes) -> bytes:
        """Run what Claude asks for; return the request of the next round."""
        rounds = self._rounds
        uses = rounds.uses
        with contextlib.ExitStack() as stack:
            if self._streamed:
                ping_after_s = self._gateway.bounds.patience.ping_after_s
                stack.enter_context(Pinger(self._call, ping_after_s))
            results = await self._unless_gone(self._run(uses))
        last = rounds.number + 1 >= settings.WEB_TOOLS_ROUNDS_MAX or time.monotonic() > self._until
        return next_body(body, rounds.content, results, last=last)

    async def _run(self, uses: list[Use]) -> list[Result]:
        return await asyncio.gather(
            *(self._run_one(use, number) for number, use in enumerate(uses))
        )

    async def _run_one(self, use: Use, number: int) -> Result:
        began = time.monotonic()
        report: Json = {"name": use.name, "input": use.arguments}
        self._ran.append(report)
        try:
            if number >= settings.WEB_TOOLS_CALLS_MAX:
                raise BadArguments(f"At most {settings.WEB_TOOLS_CALLS_MAX} calls at once are run.")
            async with asyncio.timeout(max(1.0, self._until - began)):
                caller = replace(self._caller, tool_use_id=use.id)
                ran = await self._tools.run(caller, tool_call(*arguments_of(use)))
        except (BadArguments, TavilyError, GatewayError, TimeoutError) as error:
            text = getattr(error, "message", "") or str(error) or "The tool took too long."
            report["error"] = text
            return Result(use, text, failed=True)
        finally:
            report["milliseconds"] = round((time.monotonic() - began) * 1000)
        report["request_id"] = f"req_{ran.exchange_id}"
        report["credits"], report["cached"] = ran.credits, ran.cached
        return Result(use, as_text(bounded(ran.answer, RESULT_CHARS_MAX)))

    async def _unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` does. Raises `ClientGone`, and ends it, when the client leaves."""
        doing, gone = asyncio.create_task(work), asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ClientGone
            return doing.result()
        finally:
            gone.cancel()
            doing.cancel()
            await asyncio.gather(doing, gone, return_exceptions=True)

    # --- the end --------------------------------------------------------------------------------

    async def _finish(self) -> None:
        about = {"rounds": self._rounds.number, "tools": self._ran}
        if self._streamed:
            await self._call.write(self._rounds.finish(about), more=False)
        else:
            await self._call.answer(200, orjson.dumps(self._rounds.message(about)))

    async def _fail(self, error: GatewayError | BadRound) -> None:
        """Tell the client, in whatever way is left."""
        if isinstance(error, BadRound):
            error = UpstreamFailed("The upstream's answer makes no sense.")
        if not self._call.started:
            raise error
        if not self._gone.is_set():
            event = error_event(error.wire_type, error.message, self._call.request_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS_MAX):
                    await self._call.write(event, more=False)


class _Turn(Call):
    """The call of one round, whose client is the conversation.

    `refusal` is the body of an answer that is no 200, and `headers_given` come with it.
    """

    __slots__ = ("_gone", "_main", "_rounds", "_streamed", "first", "headers_given", "refusal")

    def __init__(self, call: Call, rounds: Rounds, gone: asyncio.Event, *, streamed: bool) -> None:
        super().__init__(call.scope, self._left, None)
        self._main, self._rounds, self._gone, self._streamed = call, rounds, gone, streamed
        self.first = rounds.number == 1
        self.request_id = call.request_id if self.first else "req_" + new_id()
        self.hung_up = gone.is_set()
        self.trace = call.trace
        self.refusal: bytes | None = None
        self.headers_given: Headers = []

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the client's answer, unless it has begun or is to be one object."""
        self.started, self.status, self.headers_given = True, status, headers
        if status != 200:
            self.refusal = b""
        elif self._streamed and not self._main.started:
            self._main.streaming = True
            await self._main.start(status, headers)

    async def write(self, chunk: bytes, *, more: bool) -> None:  # noqa: ARG002
        """Give the client its part of what came; whether more comes is for the rounds to know."""
        if self.refusal is not None:
            self.refusal = (self.refusal + chunk)[:REFUSAL_BYTES_MAX]
            return
        events = self._rounds.feed(chunk)
        if self._streamed and events:
            await self._main.write(events, more=self._rounds.error is None)

    async def _left(self) -> Json:
        await self._gone.wait()
        return {"type": "http.disconnect"}


def _continued(policy: KeyPolicy) -> KeyPolicy:
    """Return what holds for the rounds after the first: the request was counted once."""
    limits = tuple(limit for limit in policy.limits if limit.unit is not Unit.REQUESTS)
    return replace(policy, limits=limits, wait_s=max(policy.wait_s, SLOT_WAIT_S))


def _failure(kind: str, message: str) -> GatewayError:
    """Return the error for a client that gets no stream which could end in one."""
    if kind == "overloaded_error":
        return Overloaded(message[:MESSAGE_CHARS_MAX], retry_after_s=1)
    return UpstreamFailed(message[:MESSAGE_CHARS_MAX])


def _message_of(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:MESSAGE_CHARS_MAX]
    except (ValueError, TypeError, KeyError):
        return "The upstream refused to go on."
