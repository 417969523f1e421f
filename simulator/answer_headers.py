"""Headers that Anthropic puts on its answers, for a gateway to strip or pass on. Knows no clock.

The limits are an account's that nobody uses up: they are here to be seen, not to limit.
"""

from datetime import UTC, datetime

Headers = list[tuple[bytes, bytes]]

ORGANIZATION = b"51a11a70-0000-4000-8000-000000000000"
LIMITS = {
    b"requests": 4000,
    b"tokens": 2_400_000,
    b"input-tokens": 2_000_000,
    b"output-tokens": 400_000,
}
WINDOW_S = 60


class AnswerHeaders:
    """The headers that every answer carries; made anew once a second."""

    def __init__(self) -> None:
        self._made_at_s = -1
        self._common: Headers = []

    def make(self, request_id: str, content_type: bytes, now_s: int) -> Headers:
        """Return the headers of one answer, without its length."""
        if now_s != self._made_at_s:
            self._common = _common(now_s)
            self._made_at_s = now_s
        return [
            (b"content-type", content_type),
            (b"request-id", request_id.encode()),
            *self._common,
        ]


def _common(now_s: int) -> Headers:
    reset = datetime.fromtimestamp(now_s + WINDOW_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    headers = [
        (b"anthropic-organization-id", ORGANIZATION),
        (b"set-cookie", b"_cfuvid=simulator; path=/; HttpOnly; Secure; SameSite=None"),
        (b"cf-cache-status", b"DYNAMIC"),
        (b"x-robots-tag", b"none"),
    ]
    for name, limit in LIMITS.items():
        prefix = b"anthropic-ratelimit-" + name
        headers += [
            (prefix + b"-limit", b"%d" % limit),
            (prefix + b"-remaining", b"%d" % (limit - 1000)),
            (prefix + b"-reset", reset),
        ]
    return headers
