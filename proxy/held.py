"""An answer of which the beginning was read, or that holds a place at its account."""

import asyncio
import contextlib

from proxy.core.headers import Headers
from proxy.own_limits import Lease
from proxy.upstream import Answer, UpstreamBroken

# The body of an error that is slow is cut off with its connection.
ERROR_SECONDS_MAX = 1.0


class Held:
    """An answer of which the beginning was read, or that holds a place at its account.

    Is used as `proxy.upstream.Answer` is.
    """

    __slots__ = ("_answer", "_lease", "_read", "headers", "status")

    def __init__(self, answer: Answer, lease: Lease | None) -> None:
        self._answer = answer
        self._lease = lease
        self._read: list[bytes] = []
        self.status = answer.status
        self.headers: Headers = answer.headers

    @property
    def length(self) -> int | None:
        """Bytes of the body as told beforehand, `None` if they were not."""
        return self._answer.length

    def header(self, name: bytes) -> bytes:
        """Return the value of a header, empty if it is not there."""
        return self._answer.header(name)

    async def peek(self, bytes_max: int) -> bytes:
        """Return the body of an error, or what came of it in short time.

        What was read is given out again, and so is a break.
        """
        size = 0
        with contextlib.suppress(TimeoutError, UpstreamBroken):
            async with asyncio.timeout(ERROR_SECONDS_MAX):
                while size < bytes_max and (piece := await self._answer.piece()):
                    self._read.append(piece)
                    size += len(piece)
        return b"".join(self._read)

    async def piece(self) -> bytes:
        """Return what came next, empty at the end. Raises `UpstreamBroken`."""
        return self._read.pop(0) if self._read else await self._answer.piece()

    def finish(self) -> None:
        """Give back the connection and the place at the account; harmless the second time."""
        self._answer.finish()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
