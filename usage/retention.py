"""What leaves the ledger when it is old enough, while roll-ups keep it.

A month's partition is dropped when the installation's days are over and no team keeps entries in it
for longer. Otherwise it is emptied batch by batch of what may go: of teams with shorter days, or of
all but those with longer ones or under a legal hold. Both are done to the partition by its own
name, where no trigger of the ledger is: nothing is taken off the roll-ups.

In the same transaction `usage_ledgerfloor` is told up to which settlement each team lost entries,
and the audit trail what went. What begins later is compared and added up again as ever; of what
began before, roll-ups are all there is. So nothing goes while old entries are still being added,
and whoever drops holds what a rebuild holds.

A window's history never goes: days are stretched to the longest budget that counts a team's
entries. Dead letters go with the installation's days, unless anything is held: nobody can say of
which team a letter is.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from keys import audit
from keys.models import Team
from usage.catching_up import reached
from usage.core.partition import Partition
from usage.core.retention import NO_TEAM, Cut, Policy, TeamKeeping, policy
from usage.folding import hold
from usage.models import DeadLetter, LedgerFloor
from usage.partitions import Busy, claim, partitions, raise_if_busy

BATCH = 20_000
TEAMS_NAMED_MAX = 50
# Windows up to this are there whatever is dropped: no team may ask for fewer days than 32.
COVERED_WINDOW_S = 30 * 86_400

# Keys that were in another team meanwhile are found in its months.
_WINDOWS = f"""
WITH long AS (
    SELECT apikey_id, plan_id, team_id, window_s FROM keys_budget
    WHERE window_s > {COVERED_WINDOW_S}
), of_key AS (
    SELECT apikey_id, window_s FROM long WHERE apikey_id IS NOT NULL
    UNION ALL
    SELECT apikey.id, window_s FROM long JOIN keys_apikey AS apikey USING (plan_id)
), counting AS (
    SELECT team_id, window_s FROM long WHERE team_id IS NOT NULL
    UNION ALL
    SELECT coalesce(apikey.team_id, {NO_TEAM}), window_s
    FROM of_key JOIN keys_apikey AS apikey ON apikey.id = of_key.apikey_id
    UNION ALL
    SELECT month.team_id, window_s
    FROM of_key JOIN usage_keyrollup AS month USING (apikey_id) WHERE month.grain = 'm'
)
SELECT team_id, max(window_s) FROM counting GROUP BY 1
"""
_RAISE = f"""
INSERT INTO usage_ledgerfloor AS stored (team_id, settled_at)
SELECT coalesce(team_id, {NO_TEAM}), max(settled_at) FROM {{source}} GROUP BY 1
ON CONFLICT (team_id) DO UPDATE
SET settled_at = greatest(stored.settled_at, EXCLUDED.settled_at)
"""
_EMPTY = f"""
WITH gone AS (
    DELETE FROM {{name}} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {{name}} WHERE {{due}} LIMIT %(batch)s
    )) RETURNING team_id, settled_at
), raised AS ({_RAISE.format(source="gone")})
SELECT count(*), max(settled_at), array_agg(DISTINCT coalesce(team_id, {NO_TEAM})) FROM gone
"""
_OF_TEAMS = "(team_id = ANY(%(teams)s) OR (team_id IS NULL AND %(without)s))"
_DUE = "settled_at < %(until)s AND exchange_id < %(before)s"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """What goes of one partition: all of it, `whole`, or `entries` in batches."""

    partition: Partition
    whole: bool
    entries: int


def policy_at(now: dt.datetime) -> Policy:
    """Return what may go at `now`, by the settings, the teams and the budgets in force."""
    teams = Team.objects.exclude(Q(ledger_keep_days=None) & Q(legal_hold=""))
    said = {
        team_id: TeamKeeping(days, bool(why))
        for team_id, days, why in teams.values_list("pk", "ledger_keep_days", "legal_hold")
    }
    if not settings.LEDGER_KEEP_DAYS and not any(each.days for each in said.values()):
        return Policy(None)  # Which windows there are need not be asked.
    with connection.cursor() as cursor:
        cursor.execute(_WINDOWS)
        for team_id, window_s in cursor.fetchall():
            known = said.get(team_id, TeamKeeping())
            said[team_id] = TeamKeeping(known.days, known.hold, window_s)
    return policy(now, settings.LEDGER_KEEP_DAYS, said)


def due(now: dt.datetime | None = None) -> list[Due]:
    """Return what would go now, counted entry by entry."""
    moment = now or timezone.now()
    rules = policy_at(moment)
    found = [_due(partition, rules) for partition in partitions()]
    return [each for each in found if each.whole or each.entries]


def step(seconds_max: float, now: dt.datetime | None = None, *, batch: int = BATCH) -> bool:
    """Drop and empty for a while; return whether anything is left to do.

    Raises `Busy` when a lock was not had, or old entries are still being added to roll-ups.
    """
    moment, deadline = now or timezone.now(), time.monotonic() + seconds_max
    rules = policy_at(moment)
    for partition in partitions():
        if _is_whole(partition, rules) and drop(partition, rules):
            if time.monotonic() > deadline:
                return True
            continue
        for condition, parameters in _conditions(partition, rules):
            while _empty(partition, condition, parameters | {"batch": batch}) == batch:
                if time.monotonic() > deadline:
                    return True
    _drop_dead_letters(rules)
    return False


def drop(partition: Partition, rules: Policy) -> bool:
    """Drop a partition that may go as a whole; return whether it is gone. Raises `Busy`."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            _begin()
            # Whoever reads it goes on; nothing new comes in.
            cursor.execute(f"LOCK TABLE {partition.name} IN SHARE ROW EXCLUSIVE MODE")
            if not _is_whole(partition, rules):
                return False
            cursor.execute(_RAISE.format(source=partition.name))
            cursor.execute(
                f"SELECT count(*), min(settled_at), max(settled_at) FROM {partition.name}"
            )
            entries, first, last = cursor.fetchone()
            detail = {"partition": partition.name, "entries": entries, "settled_to": last}
            audit.record("ledger.drop", None, None, None, detail | {"settled_from": first})
            # Waits for whoever reads the ledger at all, and they behind it: a moment at most.
            cursor.execute(f"DROP TABLE {partition.name}")
    except OperationalError as error:
        raise_if_busy(error)
        raise
    logger.info("dropped partition %s of the ledger: %s entries", partition.name, f"{entries:,}")
    return True


def kept_since(team_ids: Sequence[int] | None = None) -> dt.datetime | None:
    """Return the last settlement that was dropped, of these teams or of any; `None` for none."""
    floors = LedgerFloor.objects.all()
    if team_ids is not None:
        floors = floors.filter(team_id__in=team_ids)
    return floors.order_by("-settled_at").values_list("settled_at", flat=True).first()


def _is_whole(partition: Partition, rules: Policy) -> bool:
    """Return whether all that a partition holds may go at once."""
    if rules.everybody is None or not rules.ends(partition):
        return False
    keepers = _teams(rules.keeps_of(partition))
    return not _any(partition, _OF_TEAMS, keepers) and not _any(
        partition, "settled_at >= %(until)s", {"until": rules.everybody.until}
    )


def _conditions(partition: Partition, rules: Policy) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return what is due of a partition in batches: teams that share a cut, and everybody else."""
    shared: dict[Cut, list[int]] = {}
    for team_id, cut in rules.teams.items():
        if cut is not None:
            shared.setdefault(cut, []).append(team_id)
    for cut, team_ids in shared.items():
        if _reaches(cut, partition):
            yield f"{_OF_TEAMS} AND {_DUE}", _teams(team_ids) | _said(cut)
    if rules.everybody is not None and _reaches(rules.everybody, partition):
        others = _teams(list(rules.teams)) | _said(rules.everybody)
        # A team that is null is none of an array's, but unknown to be.
        yield f"({_OF_TEAMS}) IS NOT TRUE AND {_DUE}", others


def _reaches(cut: Cut, partition: Partition) -> bool:
    return partition.lower is None or partition.lower < cut.before


def _said(cut: Cut) -> dict[str, Any]:
    return {"before": cut.before, "until": cut.until}


def _teams(team_ids: Sequence[int]) -> dict[str, Any]:
    return {"teams": list(team_ids), "without": NO_TEAM in team_ids}


def _empty(partition: Partition, condition: str, parameters: dict[str, Any]) -> int:
    """Delete one batch; return how many entries that was. Raises `Busy`."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            _begin()
            cursor.execute(_EMPTY.format(name=partition.name, due=condition), parameters)
            entries, last, team_ids = cursor.fetchone()
            if entries:
                detail = {"partition": partition.name, "entries": entries, "settled_to": last}
                named = {"teams": team_ids[:TEAMS_NAMED_MAX]}
                audit.record("ledger.empty", None, None, None, detail | named)
            return int(entries)
    except OperationalError as error:
        raise_if_busy(error)
        raise


def _begin() -> None:
    claim()
    # A rebuild holds it too: it must find all that it takes away, or the floor of what is gone.
    hold()
    if reached() is not None:
        raise Busy


def _due(partition: Partition, rules: Policy) -> Due:
    if _is_whole(partition, rules):
        return Due(partition, True, _count(partition, "true", {}))
    conditions = _conditions(partition, rules)
    return Due(partition, False, sum(_count(partition, *each) for each in conditions))


def _count(partition: Partition, condition: str, parameters: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partition.name} WHERE {condition}", parameters)
        return int(cursor.fetchone()[0])


def _any(partition: Partition, condition: str, parameters: dict[str, Any]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM {partition.name} WHERE {condition})", parameters
        )
        return bool(cursor.fetchone()[0])


def _drop_dead_letters(rules: Policy) -> None:
    held = any(cut is None for cut in rules.teams.values())
    if rules.everybody is None or held:
        return
    with transaction.atomic():
        old = DeadLetter.objects.filter(found_at__lt=rules.everybody.until)
        letters, _ = old.delete()
        if letters:
            audit.record("deadletter.drop", None, None, None, {"letters": letters})
