"""Sends an answer the way its script says: paced, cut, stalled, failed, or in one burst.

The books know after each write how far it got: a client that hangs up was sent that much.
"""

import asyncio
from collections.abc import Iterable

from simulator.books import Entry
from simulator.client import Client
from simulator.frames import Frame, error_frame
from simulator.marks import Script

# Beyond this a burst is written in parts, so that slow readers do not fill our memory.
WRITE_BYTES_MAX = 256 * 1024


async def play(frames: Iterable[Frame], script: Script, client: Client, entry: Entry) -> str:
    """Send `frames`; return the outcome as the books name it."""
    waiting: list[bytes] = []
    size = events = tokens = 0
    rate = script.tokens_per_s
    if script.first_byte_s and not await client.sleep(script.first_byte_s):
        return "hung_up"
    clock = asyncio.get_running_loop().time
    start = clock()

    async def flush(*, last: bool = False) -> bool:
        nonlocal size
        data, size = b"".join(waiting), 0
        waiting.clear()
        entry.events, entry.output_tokens = events, tokens
        await client.write(data, last=last)
        return not client.gone

    for frame, generated in frames:
        if rate:
            delay = start + generated / rate - clock()
            if delay > 0:
                if waiting and not await flush():
                    return "hung_up"
                if not await client.sleep(delay):
                    return "hung_up"
        waiting.append(frame)
        size += len(frame)
        events += 1
        tokens = generated
        if events == script.stall_after:
            if not await flush() or not await client.sleep(script.stall_s):
                return "hung_up"
            start += script.stall_s
        if events == script.error_after:
            waiting.append(error_frame(script.error_type, script.error_message))
            await flush(last=True)
            return "error"
        if events == script.cut_after:
            await flush()
            await client.cut()
            return "cut"
        if size > WRITE_BYTES_MAX:
            client.listen()
            if not await flush():
                return "hung_up"
    return "finished" if await flush(last=True) else "hung_up"
