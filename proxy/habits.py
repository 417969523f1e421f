"""Remembers what every key usually does with every model, in this process, within a bound."""

from collections import OrderedDict

from proxy.core.habit import Habit, learn
from proxy.core.meter import StreamMeter
from proxy.exchange import Exchange
from usage.core.tokens import TokenUsage

# Habits are guesses: losing the oldest of a hundred thousand costs one rough reservation.
HABITS_MAX = 100_000
STRANGER = Habit()


class Habits:
    """The habits of this process, the ones learned last kept longest."""

    def __init__(self) -> None:
        self._habits: OrderedDict[tuple[int, str], Habit] = OrderedDict()

    def of(self, apikey_id: int, model_id: str) -> Habit:
        """Return what is known of that key with that model."""
        return self._habits.get((apikey_id, model_id), STRANGER)

    def learn(self, exchange: Exchange, usage: TokenUsage) -> None:
        """Take note of one more answer, whose counts are upstream's own."""
        meter = exchange.meter
        key = (exchange.policy.apikey_id, exchange.model.id)
        self._habits[key] = learn(
            self._habits.get(key) or exchange.habit,
            exchange.request,
            usage,
            meter.text.tokens if isinstance(meter, StreamMeter) else 0.0,
            exchange.cache_read_weight_percent,
        )
        self._habits.move_to_end(key)
        if len(self._habits) > HABITS_MAX:
            self._habits.popitem(last=False)
