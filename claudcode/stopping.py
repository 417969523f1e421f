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
import contextlib
import ctypes
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from uvicorn import Server
from uvicorn.supervisors import Multiprocess

from keys.core.access import Network, parse_network
from proxy.core.forwarded import inside, parse_address

logger = logging.getLogger(__name__)

# Longer than a proxy keeps an idle connection: `keepalive_timeout` of deploy/nginx.conf is 5 s.
LINGER_S = 7.0
# What had begun to connect has done so within some round trips.
TAKEN_S = 0.3
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
        if refuse_new_connections(listening) and not self.force_exit:
            await asyncio.sleep(TAKEN_S)
        await super().shutdown(sockets)


class OrderlyProcesses(Multiprocess):
    """uvicorn's worker processes with step 1 before they are told to stop: their socket is one."""

    def terminate_all(self) -> None:
        """Stop every worker."""
        if refuse_new_connections(self.sockets):
            time.sleep(TAKEN_S)
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
        # A copy of the descriptor: the event loop's own sockets cannot be set.
        with contextlib.closing(socket.socket(fileno=os.dup(one.fileno()))) as copy:
            if copy.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            try:
                copy.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
            except OSError as error:
                logger.warning("new connections may be lost while we stop: %s", error)
                return False
    return True


def is_proxy(address: str, trusted: tuple[str, ...]) -> bool:
    """Return whether an address is in one of the networks of `TRUSTED_PROXIES`."""
    peer = parse_address(address)
    return peer is not None and inside(peer, _networks(trusted))


@lru_cache(maxsize=4)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(cidr) for cidr in cidrs)
