"""Which headers pass in either direction, and the ones the gateway writes itself.

Headers are ASGI's pairs of bytes with lower-case names.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from keys.core.limits import Admitted, Denied, Reading, Unit

Headers = list[tuple[bytes, bytes]]

DEFAULT_VERSION = b"2023-06-01"
# The same few names come with every exchange, so what becomes of them is remembered; of longer
# ones it is not, since a client could fill our memory with them.
USUAL_NAME_BYTES = 64

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# The client's secrets, what describes this hop only, and what the upstream client writes itself.
_NEVER_UPSTREAM = _HOP_BY_HOP | {
    b"authorization",
    b"x-api-key",
    b"cookie",
    b"host",
    b"content-length",
    b"accept-encoding",
    b"expect",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-no-cache",
    b"x-tavily-api-key",
    # Ids of the client's traces; whoever follows the call may add ours.
    b"traceparent",
    b"tracestate",
    b"baggage",
}
# What describes the shared account, or would speak for another site.
_NEVER_DOWNSTREAM = _HOP_BY_HOP | {
    b"set-cookie",
    b"retry-after",
    b"request-id",
    b"x-request-id",
    b"anthropic-organization-id",
    b"anthropic-workspace-id",
    b"server",
    b"date",
    b"alt-svc",
    b"strict-transport-security",
    b"x-should-retry",
}
_NEVER_DOWNSTREAM_PREFIXES = (
    b"anthropic-ratelimit-",
    b"anthropic-priority-",
    b"cf-",
    b"x-envoy-",
    b"x-ratelimit-",
    b"x-cache",
)
_NEVER_UPSTREAM_PREFIXES = (b"x-forwarded-", b"x-claudcode-", b"cf-")


def upstream_headers(headers: Iterable[tuple[bytes, bytes]], credential: Headers) -> Headers:
    """Return what goes upstream: the client's headers less the private ones, plus `credential`."""
    passed = list(headers)
    named = _named_by_connection(passed)
    kept = [pair for pair in passed if _goes_up(pair[0]) and pair[0] not in named]
    if not any(name == b"anthropic-version" for name, _value in kept):
        kept.append((b"anthropic-version", DEFAULT_VERSION))
    # The meter reads the bytes that are relayed, so they must come uncompressed.
    return [*kept, (b"accept-encoding", b"identity"), *credential]


def downstream_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return what of upstream's headers the client gets."""
    return [(name.lower(), value) for name, value in headers if _comes_down(name)]


def _goes_up(name: bytes) -> bool:
    return _usual_goes_up(name) if len(name) <= USUAL_NAME_BYTES else _may_go_up(name)


def _comes_down(name: bytes) -> bool:
    return _usual_comes_down(name) if len(name) <= USUAL_NAME_BYTES else _may_come_down(name)


def _may_go_up(name: bytes) -> bool:
    return name not in _NEVER_UPSTREAM and not name.startswith(_NEVER_UPSTREAM_PREFIXES)


def _may_come_down(name: bytes) -> bool:
    name = name.lower()
    return name not in _NEVER_DOWNSTREAM and not name.startswith(_NEVER_DOWNSTREAM_PREFIXES)


_usual_goes_up = lru_cache(maxsize=1000)(_may_go_up)
_usual_comes_down = lru_cache(maxsize=1000)(_may_come_down)


def limit_headers(verdict: Admitted | Denied | None) -> Headers:
    """Return the key's own limits as headers: the documented three and Anthropic's triples.

    The first request limit and the first token budget of the key speak; an unlimited key has none.
    Tokens remaining are exact, not rounded to thousands as Anthropic's are.
    """
    if verdict is None:
        return []
    found: Headers = []
    requests = _first(verdict.readings, Unit.REQUESTS)
    if requests is not None:
        reset_ms = _reset_ms(requests, verdict)
        found += [
            (b"x-ratelimit-limit", _text(requests.limit.limit)),
            (b"x-ratelimit-remaining", _text(requests.remaining)),
            (b"x-ratelimit-reset", _text(-(-reset_ms // 1000))),
            *_triple(b"requests", requests, reset_ms),
        ]
    tokens = _first(verdict.readings, Unit.TOKENS)
    if tokens is not None:
        found += _triple(b"tokens", tokens, _reset_ms(tokens, verdict))
    return found


def _first(readings: tuple[Reading, ...], unit: Unit) -> Reading | None:
    return next((reading for reading in readings if reading.limit.unit is unit), None)


def _reset_ms(reading: Reading, verdict: Admitted | Denied) -> int:
    if isinstance(verdict, Denied) and verdict.reading is reading and verdict.retry_at_ms:
        return verdict.retry_at_ms
    return reading.frees_at_ms or verdict.now_ms


def _triple(kind: bytes, reading: Reading, reset_ms: int) -> Headers:
    prefix = b"anthropic-ratelimit-" + kind
    return [
        (prefix + b"-limit", _text(reading.limit.limit)),
        (prefix + b"-remaining", _text(reading.remaining)),
        # Whole seconds, rounded up, as X-RateLimit-Reset is: the two must name one instant.
        (prefix + b"-reset", _rfc3339(-(-reset_ms // 1000))),
    ]


# Many exchanges share a second; formatting one costs more than all other headers together.
@lru_cache(maxsize=1000)
def _rfc3339(epoch_s: int) -> bytes:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _named_by_connection(headers: Headers) -> set[bytes]:
    return {
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    }


def _text(number: int) -> bytes:
    return b"%d" % number
