"""Runs the simulator under uvicorn: binds its socket, says where it listens, lets marks cut it."""

import resource
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.app import Simulator
from simulator.client import TRANSPORT

BACKLOG = 4096
# Longer than clients keep idle connections, so that it is never we who close under a request.
KEEP_ALIVE_S = 300
STOP_S = 1


class CuttableProtocol(HttpToolsProtocol):
    """HTTP whose connection the application can close in the middle of an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


class AnnouncingServer(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for one in sockets or ():
            host, port = one.getsockname()[:2]
            print(f"simulator listening on http://{host}:{port}", flush=True)  # noqa: T201


def serve(simulator: Simulator, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Port 0 takes a free one."""
    _allow_many_connections()
    config = uvicorn.Config(
        simulator,
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    AnnouncingServer(config).run(sockets=[_bind(host, port)])


def _bind(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that name it.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.set_inheritable(False)
    return bound


def _allow_many_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
