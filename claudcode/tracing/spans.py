"""Turns what the data plane tells into spans: one of the server for each call of a client, one of a
client for each account that was asked, one for each web tool.

Names are those of OpenTelemetry's semantic conventions, of generative AI among them; what they have
no name for is `claudcode.…`. Neither prompts, answers, arguments nor results are told to us, nor
secrets and addresses of clients.
"""

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from keys.core.access import KeyPolicy
from proxy.core.headers import Headers
from proxy.core.meter import Metered
from proxy.core.request import MessagesRequest
from usage.core.event import CacheOutcome, Closing, ExchangeStatus

# The recommendation of W3C for what is passed on; more is somebody's mistake or worse.
STATE_BYTES_MAX = 512
MESSAGES_PATH = "/v1/messages"
PROVIDER = "anthropic"
FINE = frozenset({ExchangeStatus.COMPLETED, ExchangeStatus.HUNG_UP})


class OpenTelemetry:
    """Follows calls; `upstream` says whether accounts are told the ids of the trace."""

    def __init__(self, provider: TracerProvider, *, upstream: bool) -> None:
        self._tracer = provider.get_tracer("claudcode")
        self._upstream = upstream
        self._propagator = TraceContextTextMapPropagator()

    def follow(self, *, method: str, route: str, request_id: str, headers: Headers) -> "CallTrace":
        """Begin to follow a call."""
        given = {
            name.decode(): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        if len(given.get("tracestate", "")) > STATE_BYTES_MAX:
            del given["tracestate"]
        span = self._tracer.start_span(
            f"{method} {route}",
            self._propagator.extract(given, Context()) if given else Context(),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": route,
                "claudcode.request.id": request_id,
            },
        )
        return CallTrace(self, span)

    def begin(self, inside: Span, name: str, kind: SpanKind, attributes: dict[str, Any]) -> Span:
        """Begin a span inside another."""
        return self._tracer.start_span(
            name, trace.set_span_in_context(inside, Context()), kind, attributes
        )

    def passed_on(self, span: Span) -> Headers:
        """Return the headers that tell an account of `span`."""
        if not self._upstream:
            return []
        carried: dict[str, str] = {}
        self._propagator.inject(carried, trace.set_span_in_context(span, Context()))
        return [(name.encode(), value.encode()) for name, value in carried.items()]


class CallTrace:
    """One call of a client."""

    __slots__ = ("_asked_at", "_asking", "_cost_nanousd", "_owner", "_server")

    def __init__(self, owner: OpenTelemetry, server: Span) -> None:
        self._owner = owner
        self._server = server
        self._asking: Span | None = None
        self._asked_at = 0.0
        self._cost_nanousd = 0

    @property
    def ids(self) -> Mapping[str, str]:
        """What log lines about the call carry."""
        context = self._server.get_span_context()
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def noted(self, what: str) -> None:
        """Add an event."""
        self._server.add_event(what)

    def sends(self, account: str, model: str, path: str) -> Headers:
        """Begin the span of an account that is asked."""
        operation = "chat" if path == MESSAGES_PATH else path.rpartition("/")[2]
        self._asked_at = time.monotonic()
        self._asking = self._owner.begin(
            self._server,
            f"{operation} {model}",
            SpanKind.CLIENT,
            {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": model,
                "claudcode.upstream.account": account,
            },
        )
        return self._owner.passed_on(self._asking)

    def failed(self, outcome: str, status: int) -> None:
        """End the span of an account that gave no answer to want."""
        if self._asking is not None:
            if status:
                self._asking.set_attribute("http.response.status_code", status)
            self._end_asking(outcome)

    def settled(
        self,
        request: MessagesRequest,
        closing: Closing,
        metered: Metered,
        first_byte_at: float | None,
    ) -> None:
        """End the span of the account that answered, and tell what became of the exchange."""
        self._cost_nanousd += closing.cost_nanousd
        self._server.set_attributes(
            {
                "gen_ai.request.model": request.model,
                "claudcode.exchange.status": closing.status,
                "claudcode.cost.nanousd": self._cost_nanousd,
                "claudcode.tokens.charged": closing.charged_tokens,
                "claudcode.cache": closing.cache,
            }
        )
        if closing.cache is CacheOutcome.HIT:
            self._server.set_attribute("claudcode.cache.source", closing.cache_source)
        if self._asking is None:
            return
        self._asking.set_attributes(_asked(request, closing, metered))
        if first_byte_at is not None:
            waited_s = first_byte_at - self._asked_at
            ago_ns = int((time.monotonic() - first_byte_at) * 1e9)
            self._asking.add_event("first byte", timestamp=time.time_ns() - ago_ns)
            self._asking.set_attribute("gen_ai.response.time_to_first_chunk", round(waited_s, 6))
        fine = closing.status in FINE and closing.http_status < 400
        error_type = closing.error_type or str(closing.http_status or closing.status.value)
        self._end_asking("" if fine else error_type)

    def runs(self, tool: str, call_id: str) -> "ToolTrace":
        """Begin the span of a web tool."""
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "gen_ai.tool.type": "extension",
        }
        if call_id:
            attributes["gen_ai.tool.call.id"] = call_id
        name = f"execute_tool {tool}"
        return ToolTrace(self._owner.begin(self._server, name, SpanKind.INTERNAL, attributes))

    def refused(self, error_type: str) -> None:
        """Tell why the client got an error."""
        self._server.set_attribute("error.type", error_type)

    def ended(self, status: int, policy: KeyPolicy | None, *, hung_up: bool) -> None:
        """End the span of the call, and whatever is still open in it."""
        if self._asking is not None:
            self._end_asking("" if 200 <= status < 400 else str(status or "cancelled"))
        if policy is not None:
            self._server.set_attribute("claudcode.key.id", policy.apikey_id)
            if policy.team_id is not None:
                self._server.set_attribute("claudcode.team.id", policy.team_id)
        if status:
            self._server.set_attribute("http.response.status_code", status)
        if hung_up:
            self._server.set_attribute("claudcode.hung_up", True)
        if status >= 500:
            self._server.set_status(StatusCode.ERROR)
        self._server.end()

    def _end_asking(self, error_type: str) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            _end(asking, error_type)


class ToolTrace:
    """One call of a web tool."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, request_id: str, closing: Closing) -> None:
        """End its span."""
        self._span.set_attributes(
            {
                "claudcode.request.id": request_id,
                "claudcode.exchange.status": closing.status,
                "claudcode.cost.nanousd": closing.cost_nanousd,
                "claudcode.cache": closing.cache,
            }
        )
        fine = closing.status in FINE
        _end(self._span, "" if fine else closing.error_type or closing.status)


def _asked(request: MessagesRequest, closing: Closing, metered: Metered) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.stream": request.streamed,
    }
    if closing.http_status:
        found["http.response.status_code"] = closing.http_status
    if closing.upstream_request_id:
        found["claudcode.upstream.request.id"] = closing.upstream_request_id
    if closing.model_answered:
        found["gen_ai.response.model"] = closing.model_answered
    if metered.message_id:
        found["gen_ai.response.id"] = metered.message_id
    if metered.stop_reason:
        found["gen_ai.response.finish_reasons"] = [metered.stop_reason]
    if closing.http_status == 200:
        usage = closing.usage
        # As the conventions have it, input is all input, what caches gave or got included.
        found |= {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_input_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_input_tokens,
            "claudcode.usage.estimated": closing.estimated,
        }
    return found


def _end(span: Span, error_type: str) -> None:
    if error_type:
        span.set_attribute("error.type", error_type)
        span.set_status(StatusCode.ERROR)
    span.end()
