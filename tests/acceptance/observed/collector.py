"""A receiver of traces, OTLP over HTTP, that keeps what it was sent. Knows no gateway."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.waiting import wait_until

WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it was received; ids in hexadecimal digits."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: dict[str, Any]
    events: tuple[str, ...]


class Collector:
    """Listens on a free port; `with Collector() as collector:` gives an `endpoint`."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def resources(self) -> list[dict[str, Any]]:
        """What the senders say of themselves."""
        return [
            {pair.key: _value(pair.value) for pair in one.resource.attributes}
            for request in self._requests()
            for one in request.resource_spans
        ]

    def spans(self) -> list[Seen]:
        """All spans so far."""
        return [
            _seen(span)
            for request in self._requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def call(self, request_id: str) -> tuple[Seen, list[Seen]]:
        """Wait for the span of a call; return it, and those inside it as they were sent."""

        def look() -> Seen | None:
            servers = [span for span in self.spans() if span.kind == Span.SPAN_KIND_SERVER]
            wanted = (s for s in servers if s.attributes["claudcode.request.id"] == request_id)
            return next(wanted, None)

        server = wait_until(look, WAIT_S)
        assert server is not None
        return server, [span for span in self.spans() if span.parent_id == server.span_id]

    def _requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(raw) for raw in list(self.raw)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raw = self.raw

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                known = self.path == "/v1/traces"
                if known:
                    raw.append(body)
                self.send_response(200 if known else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler


def _seen(span: Span) -> Seen:
    return Seen(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failed=span.status.code == 2,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        events=tuple(event.name for event in span.events),
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(one) for one in found.values] if kind == "array_value" else found
