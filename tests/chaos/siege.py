"""What is done to an installation under load: in rounds of random order, at random moments.

A round is one of each attack. They follow each other, so that each failure is met on its own;
what two at once may cost is said in docs/failures.md. Two pauses see to that. A flush waits until
the leases of killed gateways have run out and the ledger is up to date; and after a flush the
gateways get the time to find out: one renewal for leases, and what proxy/unwritten.py takes for
settlements.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.crowd import Crowd
from tests.chaos.journal import Incident
from tests.chaos.stage import Stage
from tests.waiting import wait_until

# Less than Valkey takes for itself.
NO_ROOM = "1mb"
# The drain runs every second.
UP_TO_DATE_S = 3.0
UP_TO_DATE_WAIT_S = 60.0
# LOOK_AFTER_S and LOOK_EVERY_S of proxy/unwritten.py, and a moment.
UNWRITTEN_S = 6


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds: leases, and what is longer than them."""

    lease_ttl_s: int
    renew_s: int
    freeze_s: float
    away_s: float
    full_s: float
    pause_s: tuple[float, float]
    run_s: float


SHORT = Pace(10, 2, freeze_s=13, away_s=10, full_s=8, pause_s=(0.2, 1.5), run_s=45)
# The settings of production.
FULL = Pace(60, 20, freeze_s=90, away_s=60, full_s=75, pause_s=(1, 15), run_s=900)


class Siege:
    """Attacks one stage and notes what was done, and when."""

    def __init__(
        self,
        stage: Stage,
        crowd: Crowd,
        pace: Pace,
        dice: random.Random,
        tell: Callable[[str], None],
    ) -> None:
        self.incidents: list[Incident] = []
        self._stage, self._crowd, self._pace, self._dice = stage, crowd, pace, dice
        self._tell = tell
        self._began = time.monotonic()
        self._flush_not_before = 0.0

    def run(self, names: Sequence[str], seconds: float) -> None:
        """Attack in rounds of `names` for `seconds`, and at least one round long."""
        self._began = time.monotonic()
        whole_rounds = 0
        while not whole_rounds or self._passed() < seconds:
            for name in self._order(names):
                if whole_rounds and self._passed() > seconds:
                    return
                time.sleep(self._dice.uniform(*self._pace.pause_s))
                ATTACKS[name](self)
            whole_rounds += 1
        time.sleep(max(0.0, seconds - self._passed()))

    def kill_gateway(self) -> None:
        """Kill one in the middle of its streams."""
        number, gateway = self._a_gateway()
        began, open_then = time.time(), self._crowd.open_at(number)
        gateway.kill()
        self._flush_not_before = time.monotonic() + self._pace.lease_ttl_s + 2
        gateway.start()
        self._note("gateway killed", began, f"{open_then} requests open", number)

    def stop_gateway(self) -> None:
        """Stop one as a deployment does; two seconds are not enough for its streams."""
        number, gateway = self._a_gateway()
        began, open_then = time.time(), self._crowd.open_at(number)
        code = gateway.stop()
        gateway.start()
        detail = f"{open_then} requests open, exit code {code}"
        self._note("gateway stopped", began, detail, number)

    def freeze_gateway(self) -> None:
        """Freeze one for longer than its leases, and let it come back."""
        number, gateway = self._a_gateway()
        began, open_then = time.time(), self._crowd.open_at(number)
        gateway.freeze()
        time.sleep(self._pace.freeze_s)
        gateway.thaw()
        self._note("gateway frozen", began, f"{open_then} requests open", number)
        time.sleep(self._pace.renew_s)

    def kill_worker(self) -> None:
        """Kill Celery's worker."""
        began = time.time()
        self._stage.worker.kill()
        self._rest()
        self._stage.worker.start()
        self._note("worker killed", began)

    def kill_beat(self) -> None:
        """Kill Celery's beat."""
        began = time.time()
        self._stage.beat.kill()
        self._rest()
        self._stage.beat.start()
        self._note("beat killed", began)

    def kill_valkey(self) -> None:
        """Kill Valkey; it starts again on its append-only file."""
        began = time.time()
        self._stage.valkey.kill()
        self._rest()
        self._stage.valkey.start()
        self._note("valkey killed", began)

    def kill_postgres(self) -> None:
        """Kill Postgres; it recovers from its write-ahead log."""
        began = time.time()
        self._stage.postgres.kill()
        self._rest()
        self._stage.postgres.start()
        self._note("postgres killed", began)

    def keep_postgres_away(self) -> None:
        """Kill Postgres and leave it away while events pile up; then see them drained."""
        began = time.time()
        self._stage.postgres.kill()
        self._crowd.filling = True
        time.sleep(self._pace.away_s)
        self._crowd.filling = False
        waiting = self._waiting_events()
        self._stage.postgres.start()
        back = time.monotonic()
        wait_until(self._up_to_date, UP_TO_DATE_WAIT_S, every_s=0.1)
        drained_s = time.monotonic() - back
        detail = f"{waiting:,} events waited, drained {drained_s:.1f} s after its return"
        self._note("postgres away", began, detail)

    def fill_valkey(self) -> None:
        """Leave Valkey no memory: it takes neither exchanges nor messages of beat."""
        began = time.time()
        with self._stage.store() as store:
            bound = store.config_get("maxmemory")["maxmemory"]
            store.config_set("maxmemory", NO_ROOM)
            time.sleep(self._pace.full_s)
            store.config_set("maxmemory", bound)
        self._note("valkey full", began)

    def flush(self) -> None:
        """Empty Valkey, and remember what it alone had."""
        time.sleep(max(0.0, self._flush_not_before - time.monotonic()))
        wait_until(self._up_to_date, UP_TO_DATE_WAIT_S, every_s=0.1)
        time.sleep(self._dice.uniform(0, 1))  # Anywhere between two drains.
        began = time.time()
        with self._stage.store() as store:
            lost, leases = _flush(store)
        detail = f"{leases} leases and {len(lost)} events that were not in the ledger yet"
        self._note("valkey flushed", began, detail, lost=lost)
        time.sleep(max(self._pace.renew_s, UNWRITTEN_S) + 1)

    def _order(self, names: Sequence[str]) -> list[str]:
        order = self._dice.sample(list(names), len(names))
        if "flush" in order:
            # Before what it would have to wait for.
            order.remove("flush")
            at = order.index("gateway") if "gateway" in order else len(order)
            order.insert(self._dice.randint(0, at), "flush")
        return order

    def _a_gateway(self):  # type: ignore[no-untyped-def]
        number = self._dice.randrange(len(self._stage.gateways))
        return number, self._stage.gateways[number]

    def _rest(self) -> None:
        time.sleep(self._dice.uniform(0, 1.5))

    def _passed(self) -> float:
        return time.monotonic() - self._began

    def _note(
        self,
        name: str,
        began: float,
        detail: str = "",
        gateway: int | None = None,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        ended = time.time()
        self.incidents.append(Incident(name, began, ended, detail, gateway, lost))
        which = "" if gateway is None else f" ({gateway})"
        after = f", {detail}" if detail else ""
        at = self._passed() - (ended - began)
        self._tell(f"  {at:6.1f} s  {name}{which}, {ended - began:.1f} s{after}")

    def _up_to_date(self) -> bool:
        from usage.ledger import drain_lag

        with self._stage.store() as store:
            return drain_lag(store) < UP_TO_DATE_S

    def _waiting_events(self) -> int:
        from django.conf import settings

        from usage.ledger import events_key, position

        with self._stage.store() as store:
            return sum(
                len(store.xrange(events_key(shard), f"({position(store, shard)}"))
                for shard in range(settings.SHARDS)
            )


def _flush(store) -> tuple[frozenset[str], int]:  # type: ignore[no-untyped-def]
    """Empty Valkey; return the exchanges whose events were not in the ledger, and the leases."""
    from django.conf import settings

    from keys.limiter import shard_tag
    from usage.ledger import events_key, position

    shards = range(settings.SHARDS)
    pipeline = store.pipeline(transaction=True)
    for shard in shards:
        pipeline.xrange(events_key(shard), f"({position(store, shard)}")
        pipeline.zcard(f"{shard_tag(shard)}:leases")
    pipeline.flushall()
    *answers, _flushed = pipeline.execute()
    events = [fields for entries in answers[::2] for _id, fields in entries]
    return frozenset(fields[b"x"].decode() for fields in events), sum(answers[1::2])


ATTACKS: dict[str, Callable[[Siege], None]] = {
    "gateway": Siege.kill_gateway,
    "stop": Siege.stop_gateway,
    "freeze": Siege.freeze_gateway,
    "worker": Siege.kill_worker,
    "beat": Siege.kill_beat,
    "valkey": Siege.kill_valkey,
    "full": Siege.fill_valkey,
    "postgres": Siege.kill_postgres,
    "away": Siege.keep_postgres_away,
    "flush": Siege.flush,
}
