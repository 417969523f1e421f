"""A program over a year-old MCP SDK: lists the tools, calls those it is told, prints what came.

Arguments: URL, key, JSON of calls as `[[name, arguments], …]`.
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str, key: str, calls: str) -> None:
    async with (
        streamablehttp_client(url, headers={"x-api-key": key}) as (reading, writing, _id),
        ClientSession(reading, writing) as session,
    ):
        begun = await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        results = []
        for name, arguments in json.loads(calls):
            result = await session.call_tool(name, arguments)
            results.append([name, bool(result.isError), result.content[0].text])
    said = {"protocol": begun.protocolVersion, "tools": tools, "results": results}
    sys.stdout.write(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
