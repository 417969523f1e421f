"""What is done to a fleet under load, one after the other, and what each scene measures itself.

What the clients saw of it, and the books, are judged at the end (judge.py). Two failures at once
are not promised anything (docs/failures.md), so each scene ends when everybody is well again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.crowd import Crowd
from tests.chaos.journal import Incident
from tests.fleet.postgreses import PRIMARY
from tests.fleet.stage import GATEWAYS, Fleet, log_sum
from tests.fleet.valkeys import NODE_TIMEOUT_MS, Tally
from tests.waiting import wait_until

# Two cores may be busy with much else.
WELL_AGAIN_S = 180
CUT_OFF = "gateway cut off"
VALKEY_KILLED = "valkey primary killed"
PROMOTED = "postgres replica promoted"
PARTITION = "network partitioned"
RESTART = "rolling restart"
# LOOK_AFTER_S and LOOK_EVERY_S of proxy/unwritten.py, and a moment.
UNWRITTEN_S = 6
# nginx asks a gateway again that it could not reach: fail_timeout of deploy/nginx.conf.
TRUSTED_AGAIN_S = 5.0
MADE_AGAIN = "the store lost "
# Writes of a tally before something is done to its primary.
COUNTED_FIRST = 200


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    lease_ttl_s: int
    renew_s: int
    cut_s: float
    split_s: float
    between_s: float


SHORT = Pace(15, 3, cut_s=20, split_s=10, between_s=2)
FULL = Pace(20, 5, cut_s=26, split_s=15, between_s=8)


@dataclass(slots=True)
class Play:
    """Plays scenes on a fleet and notes what was done, and when."""

    fleet: Fleet
    crowd: Crowd
    pace: Pace
    tell: Callable[[str], None]
    incidents: list[Incident] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.time)

    def cut_gateway(self) -> None:
        """Cut a gateway's host off for longer than its leases, and bring it back."""
        began, open_then = time.time(), len(self.crowd.open)
        self.fleet.network.cut(GATEWAYS[1])
        time.sleep(self.pace.cut_s)
        self.fleet.network.mend(GATEWAYS[1])
        self._well_again()
        self._note(CUT_OFF, began, f"{open_then} requests open")

    def kill_valkey(self) -> None:
        """Kill a primary; its replica takes over, and it comes back as a replica."""
        stores = self.fleet.valkeys
        primary = next(iter(stores.primaries())) if stores.clustered else stores.hosts[0]
        counting = _Counting(self.fleet, primary) if stores.clustered else None
        again = log_sum(self.fleet, MADE_AGAIN)
        began = time.time()
        stores.programs[primary].kill()
        if counting is not None:
            wait_until(lambda: primary not in stores.primaries(), WELL_AGAIN_S, every_s=0.1)
        took_s = time.time() - began
        stores.programs[primary].start()
        stores.wait_until_settled()
        self._well_again()
        detail = ""
        if counting is not None:
            lost = counting.lost()
            detail = f"replaced in {took_s:.1f} s, {lost} of {counting.acknowledged:,} writes lost"
        time.sleep(max(UNWRITTEN_S, self.pace.renew_s))
        detail += f", {log_sum(self.fleet, MADE_AGAIN) - again} settlements made again"
        self._note(VALKEY_KILLED, began, detail.removeprefix(", "))

    def promote_postgres(self) -> None:
        """Cut the primary off, end it so that it never comes back, and promote the replica."""
        from usage.ledger import drain_lag

        began = time.time()
        self.fleet.network.cut(PRIMARY)
        self.fleet.postgreses.programs[PRIMARY].kill()
        self.fleet.postgreses.promote()
        took_s, rows = time.time() - began, self.fleet.postgreses.rows()
        wait_until(lambda: self.fleet.postgreses.rows() > rows, WELL_AGAIN_S, every_s=0.2)
        wrote_s = time.time() - began
        wait_until(lambda: drain_lag() < UNWRITTEN_S, WELL_AGAIN_S, every_s=0.2)
        self._well_again()
        detail = f"promoted after {took_s:.1f} s, first new row after {wrote_s:.1f} s"
        self._note(PROMOTED, began, detail)

    def partition(self) -> None:
        """Leave a gateway alone with one of three primaries, and another's replica."""
        stores = self.fleet.valkeys
        primary, other, *_rest = stores.primaries()
        counting = _Counting(self.fleet, primary)
        again = log_sum(self.fleet, MADE_AGAIN)
        began = time.time()
        island = [GATEWAYS[2], primary, *stores.replicas_of(other)[:1]]
        witness = next(host for host in stores.hosts if host not in island)
        self.fleet.network.split(island)
        wait_until(
            lambda: primary not in stores.primaries_seen_by(witness), WELL_AGAIN_S, every_s=0.1
        )
        took_s = time.time() - began
        time.sleep(max(0.0, self.pace.split_s - took_s) + NODE_TIMEOUT_MS / 1000)
        if counting.still_taken():
            self.violations.append(f"{primary}, without a majority, still takes writes")
        wrote_s = counting.last_at - began
        self.fleet.network.heal()
        stores.wait_until_settled()
        self._well_again()
        time.sleep(max(UNWRITTEN_S, self.pace.renew_s))
        made = log_sum(self.fleet, MADE_AGAIN) - again
        self._note(
            PARTITION,
            began,
            f"replaced in {took_s:.1f} s, the old primary wrote for {wrote_s:.1f} s,"
            f" {counting.lost()} writes lost, {made} settlements made again",
        )

    def restart_gateways(self) -> None:
        """Restart all gateways, one after the other, each when the one before it is trusted."""
        began, open_then = time.time(), len(self.crowd.open)
        took, codes = [], []
        for number, gateway in enumerate(self.fleet.gateways):
            stopped_at = time.time()
            codes.append(gateway.stop())
            took.append(time.time() - stopped_at)
            gateway.start()
            self._well_again()
            if number + 1 < len(self.fleet.gateways):
                time.sleep(TRUSTED_AGAIN_S)
        seconds = ", ".join(f"{seconds:.1f}" for seconds in took)
        detail = f"{open_then} requests open, stopping took {seconds} s, exit codes {codes}"
        self._note(RESTART, began, detail)

    def rest(self) -> None:
        """Let everybody work for a while."""
        time.sleep(self.pace.between_s)

    def _well_again(self) -> None:
        wait_until(self.fleet.ready, WELL_AGAIN_S, every_s=0.2)

    def _note(self, name: str, began: float, detail: str) -> None:
        ended = time.time()
        self.incidents.append(Incident(name, began, ended, detail))
        self.tell(f"  {began - self._began:6.1f} s  {name}, {ended - began:.1f} s, {detail}")


class _Counting:
    """Writes to a primary all the time, from its own host."""

    def __init__(self, fleet: Fleet, primary: str) -> None:
        self._fleet, self._primary = fleet, primary
        self._tally = Tally(fleet.valkeys, primary)
        self._over = threading.Event()
        self._taken = False
        self.last_at = 0.0
        self._thread = threading.Thread(target=self._count, name="tally", daemon=True)
        self._thread.start()
        wait_until(lambda: self.acknowledged > COUNTED_FIRST, WELL_AGAIN_S)

    @property
    def acknowledged(self) -> int:
        """How many writes the primary took."""
        return self._tally.acknowledged

    def still_taken(self) -> bool:
        """Return whether the last write was taken."""
        return self._taken

    def lost(self) -> int:
        """Stop, and return how many of the writes nobody has."""
        self._over.set()
        self._thread.join()
        return self._tally.lost()

    def _count(self) -> None:
        with self._fleet.network.inside(self._primary):
            while not self._over.wait(0.005):
                self._taken = self._tally.count()
                if self._taken:
                    self.last_at = time.time()
                elif not self._fleet.valkeys.programs[self._primary].runs:
                    break
            self._tally.close()


SCENES: dict[str, Callable[[Play], None]] = {
    "cut": Play.cut_gateway,
    "valkey": Play.kill_valkey,
    "partition": Play.partition,
    "postgres": Play.promote_postgres,
    "restart": Play.restart_gateways,
}
IN_SHORT = ("valkey", "postgres", "restart")
# What takes a cluster.
CLUSTERED = frozenset({"partition"})
