"""Partitions of the ledger as months: their bounds as exchange ids, and their names.

An exchange id begins with 48 bits of milliseconds since 1970, so a range of ids is a range of
instants of admission, by the clock of the gateway that made them.
"""

import datetime as dt
import re
from dataclasses import dataclass
from uuid import UUID

TABLE = "usage_ledgerentry"
# All entries from before there were partitions, and whatever is older than the first month.
FIRST = f"{TABLE}_first"
# Ids of no month that has a partition: of clocks gone mad, or of months dropped long ago.
DEFAULT = f"{TABLE}_default"

# As `pg_get_expr` says the bounds of a partition.
_BOUND = re.compile(r"FOR VALUES FROM \((?P<lower>.+)\) TO \((?P<upper>.+)\)")
_RANDOM_BITS = 80


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its first id and the first id after it; `None` is no bound.

    `rows` is Postgres' estimate, `size_bytes` includes indexes.
    """

    name: str
    lower: UUID | None
    upper: UUID | None
    rows: int
    size_bytes: int

    @property
    def ends_at(self) -> dt.datetime | None:
        """Return the instant after its last month; `None` if it has no end."""
        return None if self.upper is None else moment_of(self.upper)


def id_from(moment: dt.datetime) -> UUID:
    """Return the smallest id of an exchange admitted at `moment` or later."""
    return UUID(int=_milliseconds(moment) << _RANDOM_BITS)


def moment_of(exchange_id: UUID) -> dt.datetime:
    """Return the instant with which an id begins. Raises `OverflowError` beyond the year 9999."""
    milliseconds = exchange_id.int >> _RANDOM_BITS
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)


def month_of(moment: dt.datetime) -> dt.datetime:
    """Return the first instant of the month of UTC that `moment` is in."""
    start = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    utc = moment.astimezone(dt.UTC)
    return start.replace(year=utc.year, month=utc.month)


def month_after(moment: dt.datetime) -> dt.datetime:
    """Return the first instant of the month after the one that `moment` is in."""
    return month_of(month_of(moment) + dt.timedelta(days=31))


def name_of(month: dt.datetime) -> str:
    """Return the name of the partition of `month`."""
    return f"{TABLE}_{month:%Y_%m}"


def bounds(expression: str) -> tuple[UUID | None, UUID | None]:
    """Return the bounds that Postgres' expression says; of the default partition, none."""
    found = _BOUND.fullmatch(expression)
    return (_bound(found["lower"]), _bound(found["upper"])) if found else (None, None)


def _bound(text: str) -> UUID | None:
    return None if text in ("MINVALUE", "MAXVALUE") else UUID(text.strip("'"))


def _milliseconds(moment: dt.datetime) -> int:
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(milliseconds=1)
