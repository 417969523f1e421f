"""How the server stops so that no request fails that a proxy in front sends meanwhile.

The kernel has taken connections that we have not, and a proxy may send a request into an idle
connection at the moment in which we close it. It cannot tell whether we read that, so it must not
ask another gateway the same. Hence two steps, and all within `SHUTDOWN_SECONDS_MAX`:

1. The kernel refuses new connections; those that it had taken are served, and only then the sockets
   are closed. Who is refused knows that nothing was sent, and asks another gateway. On Linux;
   elsewhere the sockets are closed at once.
2. On connections that are open (`claudcode.http`) the next answer says that it is the last. Those
   of trusted proxies are closed after LINGER_S without a request, those of others at once.
"""

import asyncio
import ctypes
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from uvicorn import Server
from uvicorn.supervisors import Multiprocess

from keys.core.access import Network, parse_network
from proxy.core.forwarded import inside, parse_address

logger = logging.getLogger(__name__)

# Longer than a proxy keeps an idle connection: `keepalive_timeout` of deploy/nginx.conf is 5 s.
LINGER_S = 7.0
# What had begun to connect has done so within some round trips. Then the kernel's queue is emptied,
# which takes a busy loop its time.
TAKEN_S = 0.3
TAKEN_SECONDS_MAX = 10.0
# Of a socket that listens, `tcpi_unacked` of Linux' tcp_info: how many connections wait there.
_WAITING = struct.Struct("=24xI")
# Not in Python's socket module.
SO_ATTACH_FILTER = 26
# Classic BPF, on a TCP header: drop what begins a connection, and let all else pass.
_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # Load the flags,
    (0x54, 0, 0, 0x12),  # of these SYN and ACK.
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # Then drop the packet.
    (0x06, 0, 0, 0xFFFFFFFF),
)


class _Listening(Protocol):
    def fileno(self) -> int: ...


class OrderlyServer(Server):
    """uvicorn's server with step 1 before its own."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as the module says."""
        listening = sockets or [one for server in self.servers for one in server.sockets]
        if refuse_new_connections(listening):
            await self._take(listening)
        await super().shutdown(sockets)

    async def _take(self, listening: Sequence[_Listening]) -> None:
        """Return when we have all connections that the kernel had taken."""
        await asyncio.sleep(TAKEN_S)
        deadline = time.monotonic() + TAKEN_SECONDS_MAX
        while waiting(listening) and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)


class OrderlyProcesses(Multiprocess):
    """uvicorn's worker processes with step 1 before they are told to stop: their socket is one."""

    def terminate_all(self) -> None:
        """Stop every worker."""
        if refuse_new_connections(self.sockets):
            time.sleep(TAKEN_S)
            deadline = time.monotonic() + TAKEN_SECONDS_MAX
            while waiting(self.sockets) and time.monotonic() < deadline:
                time.sleep(0.05)
        super().terminate_all()


def refuse_new_connections(listening: Iterable[_Listening]) -> bool:
    """Have the kernel take no new connections on these sockets; return whether it can.

    It drops their first packet. That comes again after a second, and is refused when the socket
    has been closed by then.
    """
    if not sys.platform.startswith("linux"):
        return False
    lines = b"".join(struct.pack("HBBI", *line) for line in _NO_NEW_CONNECTIONS)
    program = ctypes.create_string_buffer(lines)
    described = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(program))
    for one in listening:
        with _copy(one) as copy:
            if copy.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            try:
                copy.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
            except OSError as error:
                logger.warning("new connections may be lost while we stop: %s", error)
                return False
    return True


def waiting(listening: Iterable[_Listening]) -> int:
    """Return how many connections the kernel has taken and nobody has accepted. On Linux."""
    found = 0
    for one in listening:
        with _copy(one) as copy:
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size)
            found += int(_WAITING.unpack(info)[0])
    return found


def _copy(one: _Listening) -> socket.socket:
    """Return a socket of the same descriptor: the event loop's own have no options."""
    return socket.socket(fileno=os.dup(one.fileno()))


def is_proxy(address: str, trusted: tuple[str, ...]) -> bool:
    """Return whether an address is in one of the networks of `TRUSTED_PROXIES`."""
    peer = parse_address(address)
    return peer is not None and inside(peer, _networks(trusted))


@lru_cache(maxsize=4)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(cidr) for cidr in cidrs)
