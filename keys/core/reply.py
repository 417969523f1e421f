"""Reads what the admitting script answers. The arithmetic of a denial is in `keys.core.limits`."""

from dataclasses import replace
from typing import Any

from keys.core.limits import (
    Admitted,
    Concurrency,
    Denied,
    Limit,
    Obstacle,
    Reading,
    Unit,
    Wanted,
    deny,
    retry_at_ms,
)


def read_verdict(
    reply: list[Any],
    limits: tuple[Limit, ...],
    concurrencies: tuple[Concurrency, ...],
    wanted: Wanted,
) -> Admitted | Denied:
    """Turn the reply of `keys/lua/admit.lua` about these limits into a verdict."""
    code, now_ms, flat, in_flight, failed = reply
    readings = tuple(
        Reading(
            limit,
            flat[3 * position],
            flat[3 * position + 1],
            flat[3 * position + 2] if flat[3 * position + 2] >= 0 else None,
        )
        for position, limit in enumerate(limits)
    )
    if code == 1 and not failed:
        return Admitted(now_ms, readings, tuple(in_flight))
    obstacles = tuple(
        Obstacle(
            readings[first - 1],
            tuple(zip(rest[::2], rest[1::2], strict=True)),
            # A peek asks for nothing in particular: when will anything be let in?
            1 if code == 1 else _wanted_of(readings[first - 1].limit, wanted),
        )
        for first, *rest in failed
        if first > 0
    )
    if code == 1:
        opened = {o.reading.limit: retry_at_ms(o, now_ms) for o in obstacles}
        readings = tuple(replace(r, opens_at_ms=opened.get(r.limit)) for r in readings)
        return Admitted(now_ms, readings, tuple(in_flight))
    full = tuple(concurrencies[-first - 1] for first, *_rest in failed if first < 0)
    return deny(now_ms, readings, tuple(in_flight), obstacles, full)


def _wanted_of(limit: Limit, wanted: Wanted) -> int:
    if limit.unit is Unit.TOKENS:
        return wanted.tokens_strict if limit.strict else wanted.tokens
    if limit.unit is Unit.NANOUSD:
        return wanted.nanousd_strict if limit.strict else wanted.nanousd
    return 1
