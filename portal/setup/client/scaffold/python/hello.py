"""One question, one answer: python hello.py "Write a haiku about coding" """

import sys

from claudcode import MODEL, client

prompt = " ".join(sys.argv[1:]) or "Write a haiku about coding."
message = client.messages.create(
    model=MODEL,
    max_tokens=1024,
    messages=[{"role": "user", "content": prompt}],
)
print("".join(block.text for block in message.content if block.type == "text"))
