"""The ASGI application: `/v1` to the data plane, everything else to Django.

The data plane is a plain ASGI callable: no Django request, middleware or session on its way.
"""

import gc
import multiprocessing
import warnings
from typing import Any

from claudcode import env

env.use_settings()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import re_path  # noqa: E402

django_application = get_asgi_application()  # Sets Django up; what follows needs its apps.

from claudcode import checks, health  # noqa: E402
from claudcode.engines.children import end_with_parent  # noqa: E402
from claudcode.metrics.endpoint import Metrics  # noqa: E402
from operators.sockets import SignedInSocket, refuse  # noqa: E402
from proxy.application import application as data_plane  # noqa: E402
from usage.dashboard.consumers import LiveUsage  # noqa: E402
from webtools.application import application as web_tools  # noqa: E402
from webtools.session_endpoint import application as tool_sessions  # noqa: E402

# WhiteNoise hands over open files, which Django reads in a thread: right for files of this size.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")
if settings.SUPERVISED and (server := multiprocessing.parent_process()) and server.pid:
    # One of several workers; the server itself was told to by whoever started it.
    end_with_parent(server.pid)
checks.refuse_wrong_settings()
metrics = Metrics(data_plane)
lifespan = metrics.around(tool_sessions.lifespan)
if settings.TRACES_ENDPOINT:
    from claudcode.tracing import wiring  # OpenTelemetry is loaded by who asks for it alone.

    lifespan = wiring.follow(data_plane, lifespan)


async def root(scope: Any, receive: Any, send: Any) -> None:
    """Answer `HEAD /`, a probe of Claude Code, under every host name; the page is Django's."""
    answer = health.probe if scope["method"] == "HEAD" else django_application
    await answer(scope, receive, send)


# Typed for Django's views; here it matches paths for ASGI applications.
route: Any = re_path

router = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                route(r"^v1(?:/|$)", data_plane),
                route(r"^api/hello$", data_plane),
                route(r"^mcp/?$", web_tools),
                route(r"^mcp/session(?:/|$)", tool_sessions),
                route(r"^tavily/", web_tools),
                route(r"^healthz$", health.healthz),
                route(r"^readyz$", health.readyz),
                route(r"^metrics$", metrics),
                route(r"^$", root),
                route(r"", django_application),
            ]
        ),
        "websocket": URLRouter(
            [
                route(r"^usage/live$", SignedInSocket(LiveUsage.as_asgi())),
                route(r"", refuse),
            ]
        ),
        "lifespan": lifespan,
    }
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Hand the data plane's requests over at once; the router costs them 10 µs."""
    if scope["type"] == "http" and scope["path"].startswith("/v1/"):
        await data_plane(scope, receive, send)
    else:
        await router(scope, receive, send)


# Django's classes never die, but each full collection would walk all of them: a tenth of the CPU
# time of an exchange. What a request makes is freed by reference counts, nearly all of it.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 100)
