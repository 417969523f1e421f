"""Names the answer to a request: equal keys mean that upstream would be asked the very same.

A key covers all that can change an answer and nothing that cannot. The body counts as what it
says, not as it is written: the order of names and white space do not matter, but `1`, `1.0` and
`"1"` are three things. Whatever two parsers could read differently has no key, for in a cache that
a team shares it would let one member choose another's answers: a name given twice, or a number
with more digits than a double carries.
"""

import hashlib
import re
from decimal import Decimal, InvalidOperation
from itertools import islice
from operator import itemgetter
from typing import Any

import orjson

from proxy.core.headers import DEFAULT_VERSION, Headers
from proxy.core.request import Parsed

# Changed whenever equal requests get other keys than before: old entries are never found again.
RECIPE = b"1"
# Beyond this, hashing holds up other exchanges for longer than a hit is worth.
KEYED_BYTES_MAX = 4 * 1024 * 1024
# They say how the answer comes, and who asked; not what it is.
INDIFFERENT_FIELDS = frozenset({"stream", "metadata"})
INDIFFERENT_HEADERS = frozenset({b"anthropic-dangerous-direct-browser-access"})
# What lies behind these changes while their names stay.
CHANGING_FIELDS = ("container", "mcp_servers", "thread")
# A picture or document that upstream fetches itself. In a text its quotes would be escaped.
_FETCHED = b'"type":"url"'

# A double carries every number of 15 digits, so only longer ones need a look.
_LONG_RUN = b"0" * 16
_AS_ZEROS = bytes(0x30 if byte in b"0123456789." else 0x20 for byte in range(256))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_LONG_NUMBER = re.compile(rb"-?[0-9.]{16,}+(?:[eE][+-]?[0-9]++)?")
# No prompt has so many numbers of that length; more of them are not looked at.
LONG_NUMBERS_MAX = 1000
# The longest a double ever needs, written out: more digits are never one of ours.
NUMBER_BYTES_MAX = 400


def cache_key(parsed: Parsed, *, headers: Headers, query: bytes, scope: str) -> str | None:
    """Return the SHA-256 of a request as hexadecimal digits, `None` if it must not be cached.

    `headers` are the client's, with lower-case names. Requests of different scopes never share a
    key.
    """
    if len(parsed.body) > KEYED_BYTES_MAX or any(map(parsed.fields.get, CHANGING_FIELDS)):
        return None
    deciding = _deciding_headers(headers)
    canonical = _canonical(parsed)
    if deciding is None or canonical is None or _FETCHED in canonical:
        return None
    digest = hashlib.sha256()
    for part in (RECIPE, scope.encode(), *deciding, query):
        digest.update(b"%d:" % len(part) + part)
    digest.update(canonical)
    return digest.hexdigest()


def _deciding_headers(headers: Headers) -> list[bytes] | None:
    betas: set[bytes] = set()
    found: Headers = []
    versioned = False
    for name, value in headers:
        if name == b"anthropic-beta":
            betas.update(beta.strip() for beta in value.split(b","))
        elif name == b"connection" and b"anthropic-" in value.lower():
            return None  # A header named there does not go upstream, so it decides nothing.
        elif name.startswith(b"anthropic-") and name not in INDIFFERENT_HEADERS:
            versioned |= name == b"anthropic-version"
            found.append((name, value.strip()))
    if not versioned:
        found.append((b"anthropic-version", DEFAULT_VERSION))
    # Which of two equal names upstream obeys is not known, so their order stays.
    found.sort(key=itemgetter(0))
    return [*map(b":".join, found), b",".join(sorted(betas - {b""}))]


def _canonical(parsed: Parsed) -> bytes | None:
    deciding: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in parsed.fields.items():
        (rest if name in INDIFFERENT_FIELDS else deciding)[name] = value
    try:
        canonical = orjson.dumps(deciding, option=orjson.OPT_SORT_KEYS)
        if parsed.plain or _nothing_lost(parsed.body, canonical, rest):
            return canonical
    except orjson.JSONEncodeError:
        pass  # Too deep to be written.
    return None


def _nothing_lost(body: bytes, canonical: bytes, rest: dict[str, Any]) -> bool:
    """Return whether the parsed fields hold every name and every digit of the body."""
    kept = _quotes(canonical) + _quotes(orjson.dumps(rest))
    return _quotes(body) == kept and _numbers_faithful(body)


def _quotes(text: bytes) -> int:
    """Return twice the number of strings, less one for each that is written with `\\\\` at its end.

    Of equal names a parser keeps the last, so every string it lost makes this count of what it kept
    lower than the body's, by one or two. That a backslash can be written `\\u005c` in the body
    only makes the difference larger. So if both counts are the same, nothing was lost.
    """
    return text.count(b'"') - text.count(b'\\"')


def _numbers_faithful(body: bytes) -> bool:
    if _LONG_RUN not in body.translate(_AS_ZEROS):
        return True
    # Texts may hold any digits, so look again without them.
    numbers = _LONG_NUMBER.finditer(_STRING.sub(b"", body))
    looked_at = [found.group() for found in islice(numbers, LONG_NUMBERS_MAX + 1)]
    return len(looked_at) <= LONG_NUMBERS_MAX and all(map(_faithful, looked_at))


def _faithful(number: bytes) -> bool:
    if len(number) > NUMBER_BYTES_MAX:
        return False
    text = number.decode()
    if text.lstrip("-").isdigit():
        return -(2**63) <= int(text) < 2**64
    try:
        return Decimal(text) == Decimal(repr(float(text)))
    except InvalidOperation:
        return False  # An exponent of many digits.
