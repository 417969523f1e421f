"""How long a run takes: three sizes of everything that is bounded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Seconds and counts. `keys` are the sizes of the key table that are compared."""

    name: str
    warm_s: float
    measure_s: float
    rounds: int
    round_s: float
    idle_streams: int
    open_streams: int
    open_s: float
    drain_events: int
    keys: tuple[int, ...]
    keys_used: int


QUICK = Scale(
    name="quick",
    warm_s=0.5,
    measure_s=1.5,
    rounds=4,
    round_s=0.3,
    idle_streams=300,
    open_streams=1_000,
    open_s=10.0,
    drain_events=5_000,
    keys=(10, 10_000),
    keys_used=300,
)
DEFAULT = Scale(
    name="default",
    warm_s=1.0,
    measure_s=6.0,
    rounds=10,
    round_s=0.6,
    idle_streams=1_000,
    open_streams=5_000,
    open_s=30.0,
    drain_events=50_000,
    keys=(10, 10_000),
    keys_used=2_000,
)
FULL = Scale(
    name="full",
    warm_s=1.0,
    measure_s=10.0,
    rounds=20,
    round_s=0.8,
    idle_streams=2_000,
    open_streams=10_000,
    open_s=60.0,
    drain_events=200_000,
    keys=(10, 10_000, 1_000_000),
    keys_used=5_000,
)
