"""The answer as it is written: python streaming.py "Tell me about the sea" """

import sys

from claudcode import MODEL, client

prompt = " ".join(sys.argv[1:]) or "Explain in five sentences why the sea is salty."
with client.messages.stream(
    model=MODEL,
    max_tokens=1024,
    messages=[{"role": "user", "content": prompt}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    usage = stream.get_final_message().usage
print(f"\n[{usage.input_tokens} tokens in, {usage.output_tokens} out]")
