"""How long entries stay in the ledger: what an installation, its teams and their windows say."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from usage.core.partition import Partition, id_from, month_of

# Between an exchange's admission, by which it is dropped, and its settlement, by which windows
# count it, and clocks that differ.
SLACK = dt.timedelta(days=2)
# Team 0 is none.
NO_TEAM = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes: ids before `before`, of whole months, that were settled before `until`."""

    before: UUID
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class TeamKeeping:
    """What one team says: `days` of its own, a hold, the longest window that counts its entries."""

    days: int | None = None
    hold: bool = False
    window_s: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What goes of everybody's entries and of the teams that differ; `None` is nothing."""

    everybody: Cut | None
    teams: Mapping[int, Cut | None] = field(default_factory=dict)

    def keeps_of(self, partition: Partition) -> list[int]:
        """Return the teams of which entries of `partition`, however old, are to stay."""
        return [
            team_id
            for team_id, cut in self.teams.items()
            if cut is None or partition.upper is None or cut.before < partition.upper
        ]

    def ends(self, partition: Partition) -> bool:
        """Return whether all of `partition` goes, but for teams that keep theirs."""
        cut = self.everybody
        return cut is not None and partition.upper is not None and partition.upper <= cut.before


def policy(now: dt.datetime, keep_days: int, teams: Mapping[int, TeamKeeping]) -> Policy:
    """Return what may go at `now`. `keep_days` is the installation's, 0 for ever."""
    everybody = _cut(now, TeamKeeping(keep_days or None))
    cuts = {team_id: _cut(now, _given(said, keep_days)) for team_id, said in teams.items()}
    return Policy(everybody, {team: cut for team, cut in cuts.items() if cut != everybody})


def _given(said: TeamKeeping, keep_days: int) -> TeamKeeping:
    return TeamKeeping(said.days or keep_days or None, said.hold, said.window_s)


def _cut(now: dt.datetime, said: TeamKeeping) -> Cut | None:
    if said.hold or said.days is None:
        return None
    window = dt.timedelta(seconds=said.window_s) + SLACK
    until = now - max(dt.timedelta(days=said.days), window)
    # Whole months, as partitions are: a month goes when its last day may.
    return Cut(id_from(month_of(until)), until)
