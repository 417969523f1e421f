"""Words of an answer nobody thought about. Pure: the same seed gives the same words."""

from collections.abc import Sequence
from random import Random

# Each is one token by `counting.PIECE`, also when they are joined.
VOCABULARY = (
    *(" a", " and", " answer", " as", " at", " be", " but", " by", " can", " code", " data"),
    *(" each", " even", " file", " first", " for", " from", " give", " good", " has", " if"),
    *(" in", " into", " is", " it", " key", " last", " line", " list", " long", " make", " model"),
    *(" more", " most", " name", " new", " next", " no", " not", " note", " of", " on", " one"),
    *(" only", " or", " order", " other", " out", " over", " part", " path", " plain", " point"),
    *(" proof", " read", " rest", " run", " same", " send", " set", " show", " side", " small"),
    *(" some", " step", " still", " stream", " such", " table", " test", " text", " than"),
    *(" that", " the", " then", " there", " this", " time", " to", " token", " tool", " turn"),
    *(" two", " under", " unit", " up", " use", " value", " very", " wait", " was", " way"),
    *(" well", " what", " when", " where", " which", " while", " will", " with", " word", " work"),
)
WORDS = 8192
INTRODUCTION = (
    "This answer comes from the simulator, not from Claude: no model has read your prompt."
)


class Filler:
    """An endless text, the same for the same seed, that can be entered anywhere."""

    def __init__(self, seed: int) -> None:
        self._words = Random(seed).choices(VOCABULARY, k=WORDS)

    def take(self, tokens: int, start: int) -> Sequence[str]:
        """Return `tokens` pieces from `start` on."""
        start %= WORDS
        if start + tokens <= WORDS:
            return self._words[start : start + tokens]
        rounds = (start + tokens) // WORDS + 1
        return (self._words * rounds)[start : start + tokens]
