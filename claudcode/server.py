"""The gateway's server: `python -m claudcode.server`, which is uvicorn with the options it needs.

`manage.py up` starts it, and so does whoever runs the gateway under a process manager of their own.
"""

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator

import django
import uvicorn

from claudcode import env

logger = logging.getLogger(__name__)

# Longer than the 60 s that reverse proxies and SDKs keep an idle connection, so that it is never
# we who close one at the moment a request is sent into it.
KEEP_ALIVE_S = 75
# A worker that parses a body of 32 MB is busy, not dead.
WORKER_ANSWER_SECONDS_MAX = 30
BACKLOG = 2048
# What uvicorn ends with when it could not listen or the application did not start.
STARTUP_FAILURE = 3
# Nothing that we read comes through a WebSocket; the browser's side only listens.
WEBSOCKET_BYTES_MAX = 4096


def main() -> None:
    """Serve until SIGTERM or SIGINT; then let exchanges finish for `--shutdown` seconds."""
    env.use_settings()
    django.setup()
    from django.conf import settings

    parser = argparse.ArgumentParser(prog="python -m claudcode.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shutdown", type=int, default=settings.SHUTDOWN_SECONDS_MAX)
    options = parser.parse_args()
    scraped = bool(settings.METRICS_TOKENS or settings.METRICS_NETWORKS)
    with _shared_folder(options.workers > 1 and scraped):
        _run(options)


@contextlib.contextmanager
def _shared_folder(wanted: bool) -> Iterator[None]:
    """Give the workers a folder where they leave each other their counts, if one can be made."""
    if not wanted:
        yield
        return
    try:
        folder = tempfile.TemporaryDirectory(
            prefix="claudcode-metrics-", ignore_cleanup_errors=True
        )
    except OSError as error:
        logger.warning("/metrics shows one worker's counts: there is no room to share: %s", error)
        yield
        return
    with folder as path:
        env.export("CLAUDCODE_METRICS_FOLDER", path)
        yield


def _run(options: argparse.Namespace) -> None:
    from claudcode.http import BoundedProtocol
    from claudcode.stopping import OrderlyProcesses, OrderlyServer

    config = uvicorn.Config(
        "claudcode.asgi:application",
        host=options.host,
        port=options.port,
        workers=options.workers,
        loop="uvloop",
        http=BoundedProtocol,
        ws="auto",
        ws_max_size=WEBSOCKET_BYTES_MAX,
        ws_per_message_deflate=False,  # Kilobytes a second; its buffers would cost more.
        lifespan="on",
        interface="asgi3",
        log_config=None,  # Django's, set up above and in each worker.
        access_log=False,  # An exchange is in the ledger.
        proxy_headers=False,  # TRUSTED_PROXIES decides, where the address is used.
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=options.shutdown,
        timeout_worker_healthcheck=WORKER_ANSWER_SECONDS_MAX,
    )
    with contextlib.suppress(KeyboardInterrupt):
        if options.workers > 1:
            OrderlyProcesses(config, sockets=[config.bind_socket()]).run()
            return
        config.load_app()
        server = OrderlyServer(config)
        server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
