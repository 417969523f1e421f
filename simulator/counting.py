"""Counts tokens the way a tokenizer would, without being one. Knows no requests.

A token is a piece of text: up to six Latin letters with the blank before them, three digits,
two punctuation marks, two characters of most alphabets, one of any other script. The pieces of a
text joined are the text, and the first n pieces of a text are the pieces of their own join, so
an answer cut after n pieces counts n tokens when it comes back as a prompt.
"""

import re

PIECE = re.compile(
    r" ?[A-Za-z]{1,6}"
    r"| ?[0-9]{1,3}"
    r"|[ \t\r\n]{1,4}"
    r"|[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]{1,2}"
    r"|[\u0080-\u1fff]{1,2}"
    r"|.",
    re.DOTALL,
)
# Shorter texts are counted faster than they are looked up.
REMEMBERED_CHARS_MIN = 512
# About 100 bytes each. Agents send their whole history every turn: nearly all of it is known.
REMEMBERED_MAX = 50_000
# `findall` is ten times as fast as `finditer`, and this bounds its list to some 15 MB. A piece that
# lies across two stretches counts twice.
STRETCH_CHARS = 1024 * 1024

# Counts of long texts by (length, hash). A pure function's memory: it changes no result.
_remembered: dict[tuple[int, int], int] = {}


def pieces(text: str) -> list[str]:
    """Return the tokens of `text`, in order."""
    return PIECE.findall(text)


def count(text: str) -> int:
    """Return how many tokens `text` has."""
    if len(text) < REMEMBERED_CHARS_MIN:
        return len(PIECE.findall(text))
    name = (len(text), hash(text))
    tokens = _remembered.get(name)
    if tokens is None:
        tokens = sum(
            len(PIECE.findall(text, start, start + STRETCH_CHARS))
            for start in range(0, len(text), STRETCH_CHARS)
        )
        if len(_remembered) >= REMEMBERED_MAX:
            _remembered.clear()
        _remembered[name] = tokens
    return tokens
