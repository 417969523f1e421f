"""`GET /v1/usage`: what the calling key has used, out of the roll-ups.

Not on the way of any message: it asks Postgres, of which no more than `AT_ONCE` threads of the few
may be busy with it, each for a bounded time, and each key as often as `READS_MAX` says.
"""

import asyncio
import datetime as dt
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import orjson
from django.db import transaction

from keys.core.access import KeyPolicy
from keys.core.limits import Denied, Limit, Unit
from keys.limiter import LimiterUnavailable
from proxy.admission import limits_unknown
from proxy.call import Call
from proxy.core.errors import BadRequest, RateLimited, Unavailable
from proxy.database import Database, DatabaseUnavailable
from proxy.gateway import Gateway
from usage import replica
from usage.core.price import NANOUSD_PER_USD
from usage.reading.question import Group, Span, Step, Unanswerable, zone_named
from usage.reading.scope import of_keys
from usage.reading.series import Line, Series, series

READS_MAX, READS_WINDOW_S = 30, 30
AT_ONCE = 2
QUERY_MS_MAX = 2_000
FIELDS_MAX = 10
# Rows of an answer: a screen's worth of steps, each by the largest groups.
ROWS_MAX = 5_000
SPAN_DEFAULT = dt.timedelta(days=1)
PARAMETERS = ("start", "end", "step", "group_by", "zone")
# Not by upstream: whose accounts answer is the operators' alone.
GROUPS = (Group.MODEL, Group.CLIENT, Group.ERROR)
MEASURES = (
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "charged_tokens",
    "cost_nanousd",
    "cache_hits",
    "saved_tokens",
    "saved_nanousd",
)


class UsageEndpoint:
    """Answers what the calling key has used."""

    def __init__(self, gateway: Gateway, database: Database) -> None:
        self._gateway = gateway
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def usage(self, call: Call) -> None:
        """Answer sums by steps of time, and by group if one is asked for. Costs nothing."""
        policy = await self._gateway.identify(call)
        asked = _asked(call.query)
        await self._tick(policy)
        await self._gateway.show_limits(call)
        try:
            async with self._turns:
                answer = await self._database.call(_answer, policy.apikey_id, asked)
        except Unanswerable as error:
            raise BadRequest(str(error)) from None
        except DatabaseUnavailable as error:
            raise Unavailable(
                "Usage cannot be read just now. Try again shortly.", retry_after_s=5
            ) from error
        await call.answer(200, orjson.dumps({"key": f"sk-cc-...{policy.last_four}", **answer}))

    async def _tick(self, policy: KeyPolicy) -> None:
        scope = policy.concurrencies[0].scope
        limit = Limit(scope, Unit.COUNTS, READS_WINDOW_S, READS_MAX)
        try:
            verdict = await self._gateway.limiter.tick(policy, limit)
        except LimiterUnavailable as error:
            raise limits_unknown() from error
        if isinstance(verdict, Denied):
            wait_s = max(1, -(-(verdict.retry_after_ms or 1_000) // 1000))
            raise RateLimited(
                f"Rate limit exceeded: this API key may read its usage {READS_MAX} times in"
                f" {READS_WINDOW_S}s. Try again in {wait_s}s.",
                retry_after_s=wait_s,
            )


def _asked(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=FIELDS_MAX, strict_parsing=True)
    except ValueError:
        pairs = []
        if query:
            raise BadRequest("The query string cannot be read.") from None
    asked = dict(pairs)
    for name in asked:
        if name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise BadRequest(f"{name[:50]}: there is no such parameter. There are {known}.")
    return asked


def _answer(apikey_id: int, asked: dict[str, str]) -> dict[str, Any]:
    """Read and return the answer, in a thread. Raises `Unanswerable`."""
    zone = zone_named(asked.get("zone", "UTC"))
    end = _instant("end", asked.get("end"), dt.datetime.now(dt.UTC))
    span = Span(_instant("start", asked.get("start"), end - SPAN_DEFAULT), end)
    if asked.get("step", Step.HOUR) not in list(Step):
        raise Unanswerable(f"step is one of {', '.join(Step)}.")
    step = Step(asked.get("step", Step.HOUR))
    group = Group(asked["group_by"]) if asked.get("group_by") in GROUPS else None
    if group is None and "group_by" in asked:
        raise Unanswerable(f"group_by is one of {', '.join(GROUPS)}.")
    found = replica.read(lambda: _series(apikey_id, span, step, zone, group))
    rows = [
        {"start": at.isoformat()} | ({group.value: line.name} if group else {}) | sums
        for n, at in enumerate(found.starts)
        for line in found.lines
        if any((sums := _sums(line, n)).values()) or group is None
    ]
    if len(rows) > ROWS_MAX:
        raise Unanswerable(f"More than {ROWS_MAX:,} rows: ask for longer steps or less time.")
    return {
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        "step": step.value,
        "zone": zone.key,
        "nanousd_per_usd": NANOUSD_PER_USD,
        "totals": {m: sum(sum(line.values[m]) for line in found.lines) for m in MEASURES},
        "data": rows,
    }


def _series(apikey_id: int, span: Span, step: Step, zone: ZoneInfo, group: Group | None) -> Series:
    with transaction.atomic(using=replica.alias()), replica.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {QUERY_MS_MAX}")
        return series(
            of_keys([apikey_id]),
            span.start,
            span.end,
            step,
            zone,
            group_by=group,
            measures=MEASURES,
        )


def _sums(line: Line, step: int) -> dict[str, int]:
    return {measure: line.values[measure][step] for measure in MEASURES}


def _instant(name: str, text: str | None, default: dt.datetime) -> dt.datetime:
    if text is None:
        return default
    try:
        # A plus sign that nobody escaped has become a space.
        found = dt.datetime.fromisoformat(text.replace(" ", "+"))
        # Without a zone, UTC; and Python has no instants beyond its years in another zone.
        return found.replace(tzinfo=found.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise Unanswerable(f"{name} is a date or a time such as 2027-01-31T12:00:00Z.") from None
