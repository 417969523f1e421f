"""The last minute of use, by key: one bounded look at the newest rows of the ledger.

Roll-ups know whole hours. This reads what was settled within a minute, out of the index on that
instant, however many rows lie before it; `Recent` is one reading, shared by all who look.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import transaction

from usage import replica

SPAN_S = 60
STEP_S = 5
STEPS = SPAN_S // STEP_S
# A reading that takes longer than this is given up: the figures then say how old they are.
QUERY_MS_MAX = 2_000

# The step under way is the last of the twelve, so that a new exchange is seen in it at once.
_LAST_MINUTE = """
SELECT apikey_id, team_id,
    floor(extract(epoch FROM settled_at) / %(step_s)s)::bigint AS step,
    count(*), sum((status IN ('upstream_error', 'gateway_error'))::int),
    sum(input_tokens + output_tokens + cache_creation_input_tokens
        + cache_read_input_tokens)::bigint,
    sum(charged_tokens)::bigint, sum(cost_nanousd)::bigint
FROM usage_ledgerentry
WHERE settled_at >= to_timestamp(%(since_s)s)
GROUP BY 1, 2, 3
"""


class Row(NamedTuple):
    """What one key used in one step of `STEP_S` seconds; `step` counts from the epoch."""

    apikey_id: int
    team_id: int | None
    step: int
    requests: int
    errors: int
    tokens: int
    charged_tokens: int
    cost_nanousd: int


@dataclass(slots=True)
class Sums:
    """What some rows add up to."""

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    charged_tokens: int = 0
    cost_nanousd: int = 0

    def add(self, row: Row) -> None:
        """Count one more row."""
        self.requests += row.requests
        self.errors += row.errors
        self.tokens += row.tokens
        self.charged_tokens += row.charged_tokens
        self.cost_nanousd += row.cost_nanousd


@dataclass(frozen=True, slots=True)
class Recent:
    """The rows of the last minute before `at_s`, the newest step last.

    `age_s` is how old what was read may be, where that is worth telling.
    """

    at_s: float
    rows: tuple[Row, ...] = field(default=())
    age_s: float = 0.0

    @property
    def first_step(self) -> int:
        """The oldest of the `STEPS` steps."""
        return int(self.at_s // STEP_S) - STEPS + 1

    def seen_by(
        self, everything: bool, team_ids: frozenset[int], apikey_ids: frozenset[int]
    ) -> Iterator[Row]:
        """Return the rows of these teams and of these keys."""
        for row in self.rows:
            if everything or row.apikey_id in apikey_ids or row.team_id in team_ids:
                yield row


def read() -> Recent:
    """Read the last minute. Raises what Django raises when Postgres is away or too slow."""
    return replica.read(_read)


def _read() -> Recent:
    now = time.time()
    since_s = (int(now // STEP_S) - STEPS + 1) * STEP_S
    with transaction.atomic(using=replica.alias()), replica.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {QUERY_MS_MAX}")
        cursor.execute(_LAST_MINUTE, {"step_s": STEP_S, "since_s": since_s})
        rows = tuple(Row(*found) for found in cursor.fetchall())
        return Recent(now, rows, replica.shown_age_s())
