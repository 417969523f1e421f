"""A link to Valkey that can lose a reply: the command was carried out, and nobody is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


class LossyLink:
    """Passes bytes both ways, and cuts the connection instead of passing a reply when told."""

    def __init__(self, valkey_url: str) -> None:
        self._target = urlsplit(valkey_url)
        self._loses = False

    def lose_the_next_reply(self) -> None:
        """Cut the connection that the next reply comes on."""
        self._loses = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        upstream_reader, upstream_writer = await self._connect()
        pumps = {
            asyncio.create_task(self._pump(reader, upstream_writer, replies=False)),
            asyncio.create_task(self._pump(upstream_reader, writer, replies=True)),
        }
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        upstream_writer.close()
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        return await asyncio.open_connection(self._target.hostname, self._target.port or 6379)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if replies and self._loses:
                    self._loses = False
                    return
                writer.write(chunk)
                await writer.drain()


@contextlib.asynccontextmanager
async def lossy_link(valkey_url: str, folder: Path) -> AsyncIterator[tuple[LossyLink, str]]:
    """Yield a link and the address at which it is Valkey."""
    link = LossyLink(valkey_url)
    path = folder / "link.sock"
    server = await asyncio.start_unix_server(link.serve, path)
    try:
        yield link, f"unix://{path}?{urlsplit(valkey_url).query}"
    finally:
        server.close()
        await server.wait_closed()
