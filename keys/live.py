"""Where keys stand against their limits at this moment, for those who watch: nothing moves.

The synchronous sibling of `Limiter.peek`, for many keys in one or two round trips (to each node of
a cluster). A window that Valkey does not know is not loaded from the ledger here: it is returned as
cold, and whoever asks may know better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from redis import RedisError

from keys import valkey
from keys.core.access import KeyPolicy
from keys.core.limits import Admitted, Limit, Reading, Unit, encode_question
from keys.core.reply import read_verdict
from keys.limiter import NOTHING, shard_tag, source
from keys.models import ApiKey, Team
from keys.policy import RPM_WINDOW_S, holder_scope, holder_shard, load_policies

_COLD = -1


class NotRead(Exception):
    """Valkey did not answer: nobody knows how keys stand."""


@dataclass(frozen=True, slots=True)
class Live:
    """How one key stands: its limits and those of its team.

    `cold` are limits whose windows Valkey does not know, since they were last used long ago or
    not at all. `in_flight` counts exchanges of the key alone.
    """

    policy: KeyPolicy
    now_ms: int = 0
    in_flight: int = 0
    readings: tuple[Reading, ...] = ()
    cold: tuple[Limit, ...] = field(default=())

    @property
    def rpm(self) -> int | None:
        """Requests of the key in the last minute; `None` without a limit, which counts none."""
        own = self.policy.concurrencies[0].scope
        mine = [limit for limit in self.policy.limits if _is_rpm(limit) and limit.scope == own]
        used = [reading.used for reading in self.readings if reading.limit in mine]
        return sum(used) if mine else None

    @property
    def budgets(self) -> tuple[Reading, ...]:
        """The readings of budgets, without the rate limits."""
        return tuple(reading for reading in self.readings if not _is_rpm(reading.limit))


def peek(apikeys: Sequence[ApiKey]) -> dict[int, Live]:
    """Return how keys, read with their teams, stand, by their ids. Raises `NotRead`."""
    policies = load_policies(apikeys)
    questions = {pk: policy.limits for pk, policy in policies.items()}
    try:
        replies = _ask(policies, questions)
        cold = {pk: _cold(questions[pk], reply) for pk, reply in replies.items()}
        warm = {pk: tuple(li for li in questions[pk] if li not in cold[pk]) for pk in policies}
        again = {pk: limits for pk, limits in warm.items() if cold[pk]}
        replies |= _ask(policies, again)
    except RedisError as error:
        raise NotRead from error
    return {pk: _live(policies[pk], warm[pk], cold[pk], reply) for pk, reply in replies.items()}


def in_flight(holders: Sequence[ApiKey | Team]) -> int:
    """Return the exchanges in flight of keys and of teams together. Raises `RedisError`."""
    pipeline = valkey.client().pipeline(transaction=False)
    for holder in holders:
        pipeline.hget(f"{shard_tag(holder_shard(holder))}:c:{holder_scope(holder)}", "f")
    return sum(max(0, int(count or 0)) for count in pipeline.execute())


def in_flight_of_all() -> int:
    """Return the exchanges in flight of everybody. Raises `RedisError`."""
    pipeline = valkey.client().pipeline(transaction=False)
    for shard in range(settings.SHARDS):
        pipeline.zcard(f"{shard_tag(shard)}:leases")
    return sum(pipeline.execute())


def _ask(
    policies: Mapping[int, KeyPolicy], questions: Mapping[int, tuple[Limit, ...]]
) -> dict[int, list[Any]]:
    nothing = [NOTHING.tokens, NOTHING.tokens_strict, NOTHING.nanousd, NOTHING.nanousd_strict, 0, 0]
    calls = []
    for pk, limits in questions.items():
        question = encode_question(limits, policies[pk].concurrencies)
        arguments = [0, "peek", question, "-", 0, *nothing, ""]
        calls.append((f"{shard_tag(policies[pk].shard)}:leases", arguments))
    return dict(
        zip(questions, valkey.run_each(valkey.client(), source("admit"), calls), strict=True)
    )


def _cold(limits: tuple[Limit, ...], reply: list[Any]) -> tuple[Limit, ...]:
    return tuple(limits[position - 1] for position in reply[4]) if reply[0] == _COLD else ()


def _live(
    policy: KeyPolicy, limits: tuple[Limit, ...], cold: tuple[Limit, ...], reply: list[Any]
) -> Live:
    if reply[0] == _COLD:  # It went cold between the two questions.
        return Live(policy, reply[1], cold=policy.limits)
    verdict = read_verdict(reply, limits, policy.concurrencies, NOTHING)
    assert isinstance(verdict, Admitted)
    return Live(policy, verdict.now_ms, verdict.in_flight[0], verdict.readings, cold)


def _is_rpm(limit: Limit) -> bool:
    return limit.unit is Unit.REQUESTS and limit.window_s == RPM_WINDOW_S
