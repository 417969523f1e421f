"""The text in the deltas of a stream: found without parsing them, kept only until it is counted.

Deltas of one block differ in nothing but their text, so where it starts in one of them tells
where it starts in the next. Signatures and citations are no output and are passed over.
"""

import re

import orjson

from proxy.core.estimate import tokens_of

# Enough to tell a language by, and little to count when leases are renewed for a thousand streams.
KEPT_BYTES_MAX = 1024
# Counting takes 40 microseconds a kilobyte, and nobody else is served meanwhile.
COUNTED_BYTES_MAX = 16 * 1024
# In a delta what is no text is written without quotes inside; within the text they are escaped.
_HEAD = re.compile(rb'"(?:text|thinking|partial_json)": ?"')
# Upstream may hide its thinking and tell roughly how much there was of it.
_HINT = re.compile(rb'"estimated_tokens": ?(\d{1,9}|null)')
# A quote after an even number of backslashes, such as none.
_TEXT_END = re.compile(rb'(?<!\\)(?:\\\\)*"')


class DeltaText:
    """What a stream has written so far. `tokens` is how much that is, about."""

    __slots__ = ("_counted", "_head", "_text")

    def __init__(self) -> None:
        self._counted = 0.0
        self._head = b"\n"  # begins no delta
        self._text = bytearray()

    @property
    def tokens(self) -> float:
        """Tokens of all text, and of thinking that was not shown, as far as upstream told."""
        return self._counted + _count(self._text)

    def add(self, delta: bytes) -> None:
        """Take in a frame that is a delta."""
        # Upstream pads deltas with blanks, against eavesdroppers who count bytes.
        delta = delta.rstrip(b" }")
        if delta.startswith(self._head) and delta.endswith(b'"'):
            self._text += delta[len(self._head) : -1]
        else:
            self._add_other(delta)
        if len(self._text) > KEPT_BYTES_MAX:
            self._counted += _count(self._text)
            self._text.clear()

    def _add_other(self, delta: bytes) -> None:
        head = _HEAD.search(delta)
        if head is None:
            return
        end = _TEXT_END.search(delta, head.end())
        text_end = end.end() - 1 if end else len(delta)
        self._text += delta[head.end() : text_end]
        hint = _HINT.search(delta, text_end) or _HINT.search(delta, 0, head.start())
        if hint is None or hint.start() > text_end:
            self._head = delta[: head.end()]
        if hint and hint[1] != b"null":
            self._counted += int(hint[1])


def _count(escaped: bytearray) -> float:
    part = bytes(escaped[:COUNTED_BYTES_MAX])
    if not part:
        return 0.0
    return tokens_of(_unescaped(part)) * (len(escaped) / len(part))


def _unescaped(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    try:
        written: str = orjson.loads(b'"' + text + b'"')
    except orjson.JSONDecodeError:
        return text  # cut in an escape, or no JSON: a backslash more or less
    return written.encode()
