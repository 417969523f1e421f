"""Anthropic's prompt cache: which prefix of a prompt is read, which is written. Knows no clock.

A prompt is a row of segments. A segment with a breakpoint (`cache_control`) ends a cacheable
prefix. The longest prefix that is already known, at a breakpoint or up to 20 segments before it, is
read; what lies between it and each later breakpoint is written; the rest is plain input.
Prefixes below the model's minimum are left alone, as upstream does.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

# About 150 bytes each, so 15 MB at most; least recently used go first.
PREFIXES_MAX = 100_000
# Documented look-back of a breakpoint, in content blocks.
LOOK_BACK = 20
TTLS_S = {"5m": 300, "1h": 3600}


@dataclass(frozen=True, slots=True)
class Segment:
    """One block of a prompt. `ttl` is "5m" or "1h" where a cacheable prefix ends, else ""."""

    tokens: int
    content: object
    ttl: str = ""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Tokens of a prompt that were read from the cache and written to it, by lifetime."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def total(self) -> int:
        """Tokens of the prompt that are not plain input."""
        return self.read + self.written_5m + self.written_1h


NOTHING = CacheUse()


class PromptCache:
    """Prefixes seen before, each with the second at which it is forgotten."""

    def __init__(self, prefixes_max: int = PREFIXES_MAX) -> None:
        self._prefixes: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._prefixes_max = prefixes_max

    def use(
        self, *, owner: str, segments: Sequence[Segment], tokens_min: int, now_s: float
    ) -> CacheUse:
        """Read and write the prefixes of one prompt. `owner` keeps accounts and models apart."""
        ends = [number for number, segment in enumerate(segments) if segment.ttl]
        if not ends:
            return NOTHING
        prefixes = _prefixes(owner, segments[: ends[-1] + 1])
        known = self._longest(prefixes, ends, tokens_min, now_s)
        read = prefixes[known][1] if known >= 0 else 0
        written = {"5m": 0, "1h": 0}
        covered = read
        for end in ends:
            digest, tokens = prefixes[end]
            if tokens < tokens_min:
                continue
            ttl = segments[end].ttl
            if end > known:
                written[ttl] += tokens - covered
                covered = tokens
            self._remember(digest, now_s, TTLS_S[ttl])
        return CacheUse(read, written["5m"], written["1h"])

    def clear(self) -> None:
        """Forget every prefix."""
        self._prefixes.clear()

    def _longest(
        self,
        prefixes: Sequence[tuple[bytes, int]],
        ends: Sequence[int],
        tokens_min: int,
        now_s: float,
    ) -> int:
        for end in reversed(ends):
            for number in range(end, max(end - LOOK_BACK, -1), -1):
                digest, tokens = prefixes[number]
                entry = self._prefixes.get(digest)
                if entry and entry[0] > now_s and tokens >= tokens_min:
                    # A hit starts the entry's life anew.
                    self._remember(digest, now_s, entry[1])
                    return number
        return -1

    def _remember(self, digest: bytes, now_s: float, ttl_s: int) -> None:
        self._prefixes[digest] = (now_s + ttl_s, ttl_s)
        self._prefixes.move_to_end(digest)
        if len(self._prefixes) > self._prefixes_max:
            self._prefixes.popitem(last=False)


def _prefixes(owner: str, segments: Sequence[Segment]) -> list[tuple[bytes, int]]:
    running = hashlib.sha256(owner.encode())
    tokens = 0
    prefixes = []
    for segment in segments:
        running.update(orjson.dumps(segment.content))
        tokens += segment.tokens
        prefixes.append((running.digest()[:16], tokens))
    return prefixes
