"""Gets spans out of the process: OTLP over HTTP, from a thread of its own, through a bounded queue.

A collector that is slow or away costs spans, never an exchange: a full queue drops them, and the
log says so. What is not set here is up to OpenTelemetry's own variables (`OTEL_…`).
"""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from claudcode.tracing.sampling import sampler

SERVICE = "claudcode"
# How long a stopping gateway waits for the last spans to be taken.
FLUSH_SECONDS_MAX = 3.0

Lifespan = Callable[[Any, Any, Any], Awaitable[None]]


class Exporting:
    """The provider of tracers, and its end."""

    def __init__(self, endpoint: str, *, ratio: float, trust_callers: bool) -> None:
        # Not registered as the provider of everything: libraries that make spans of their own
        # accord, such as the SDK of MCP, would put arguments of tools into them.
        self.provider = TracerProvider(
            sampler=sampler(ratio, trust_callers=trust_callers),
            resource=_resource(),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=full(endpoint))
        self.provider.add_span_processor(BatchSpanProcessor(exporter))

    def around(self, lifespan: Lifespan) -> Lifespan:
        """Return `lifespan` with the last spans sent after its end."""

        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            async def told(message: Any) -> None:
                if message["type"] == "lifespan.shutdown.complete":
                    await self.stop()
                await send(message)

            await lifespan(scope, receive, told)

        return wrapped

    async def stop(self) -> None:
        """Send what is queued, within a bound."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self.provider.shutdown()
            loop.call_soon_threadsafe(sent.set)

        # A daemon: what a collector that hangs has not taken by then must not hold up the end.
        threading.Thread(target=shut_down, daemon=True).start()
        try:
            await asyncio.wait_for(sent.wait(), FLUSH_SECONDS_MAX)
        except TimeoutError:
            return


def full(endpoint: str) -> str:
    """Return the address spans are posted to: the usual path where the endpoint names none."""
    bare = urlsplit(endpoint).path in ("", "/")
    return endpoint.rstrip("/") + "/v1/traces" if bare else endpoint


def _resource() -> Resource:
    instance = f"{socket.gethostname()}-{os.getpid()}"
    ours = Resource.create({"service.name": SERVICE, "service.instance.id": instance})
    return ours.merge(OTELResourceDetector().detect())  # What the operator says wins.
