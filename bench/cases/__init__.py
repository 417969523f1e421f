"""What is measured, by the names that `--case` takes, in the order of a whole run.

The modules are imported when their settings can be read: after the stage is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """A function of a module here. `working`: worker and beat run meanwhile, as in earnest."""

    module: str
    function: str
    working: bool = True

    def load(self) -> Callable[[Any], Any]:
        """Return the function: a `bench.measure.Run` in, a `bench.results.Section` out."""
        found: Callable[[Any], Any] = getattr(
            import_module(f"bench.cases.{self.module}"), self.function
        )
        return found


CASES = {
    "memory": Case("memory", "memory"),
    "open-streams": Case("open_streams", "open_streams"),
    "latency": Case("latency", "latency"),
    "first-byte": Case("latency", "first_byte"),
    "bodies": Case("exchanges", "bodies"),
    "streams": Case("exchanges", "streams"),
    "paced": Case("exchanges", "paced"),
    "hits": Case("exchanges", "hits"),
    "connections": Case("exchanges", "connections"),
    "buckets": Case("growth", "buckets"),
    "keys": Case("growth", "keys"),
    "both-cores": Case("both_cores", "both_cores"),
    "footprint": Case("footprint", "footprint", working=False),
    "drain": Case("drain", "drain", working=False),
}
