"""Claude calls a function of yours and answers with what it returned: python tool_use.py"""

import json
import sys
from datetime import datetime, timedelta, timezone

from claudcode import MODEL, client

TOOL = {
    "name": "local_time",
    "description": "The time of day at an offset from UTC.",
    "input_schema": {
        "type": "object",
        "properties": {"utc_offset_hours": {"type": "integer", "minimum": -12, "maximum": 14}},
        "required": ["utc_offset_hours"],
    },
}
TURNS_MAX = 5


def local_time(utc_offset_hours):
    zone = timezone(timedelta(hours=utc_offset_hours))
    return datetime.now(zone).strftime("%H:%M")


def run(call):
    print(f"[calls {call.name} with {json.dumps(call.input)}]")
    try:
        result = {"content": local_time(**call.input)}
    except (TypeError, ValueError) as error:
        result = {"content": str(error), "is_error": True}
    return {"type": "tool_result", "tool_use_id": call.id, **result}


messages = [{"role": "user", "content": " ".join(sys.argv[1:]) or "What time is it in Tokyo?"}]
for turn in range(TURNS_MAX):
    message = client.messages.create(
        model=MODEL,
        max_tokens=1024,
        tools=[TOOL],
        # So that the example shows a call. After that it is Claude's choice, as usual.
        tool_choice={"type": "any" if turn == 0 else "auto"},
        messages=messages,
    )
    calls = [block for block in message.content if block.type == "tool_use"]
    if not calls:
        break
    messages.append({"role": "assistant", "content": message.content})
    messages.append({"role": "user", "content": [run(call) for call in calls]})
print("".join(block.text for block in message.content if block.type == "text"))
