"""Texts cut into deltas, with the tokens that upstream's tokenizer makes of every beginning.

The texts were written for this and are in `texts/<kind>/<name>.txt`. `counts.json` tells where
the deltas end that hold `TOKENS_PER_DELTA` tokens each; `python -m tests.estimates --recount`
makes it anew. No weight in `proxy/core/estimate.py` was fitted to these texts.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.core.meter import StreamMeter

FOLDER = Path(__file__).parent
COUNTS = FOLDER / "counts.json"
TOKENS_PER_DELTA = 4
# After so much of its events a client leaves.
CUTS_PERCENT = (10, 25, 50, 75, 90)
_FIELDS = {
    "tools": ("input_json_delta", "partial_json"),
    "thinking": ("thinking_delta", "thinking"),
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text of some kind, the characters after which its deltas end, and its tokens in all."""

    kind: str
    name: str
    text: str
    ends: tuple[int, ...]
    tokens: int

    def deltas(self) -> Iterator[bytes]:
        """Yield the events that bring the text."""
        kind, field = _FIELDS.get(self.kind, _FIELDS.get(self.name, ("text_delta", "text")))
        begin = 0
        for end in self.ends:
            delta = {"type": kind, field: self.text[begin:end]}
            data = {"type": "content_block_delta", "index": 0, "delta": delta}
            written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            yield f"event: content_block_delta\ndata: {written}\n\n".encode()
            begin = end

    def tokens_after(self, deltas: int) -> int:
        """Return the true tokens of the first `deltas` events."""
        return min(self.tokens, deltas * TOKENS_PER_DELTA)

    def errors(self) -> list[float]:
        """Return by how much of the truth the meter is off at each cut; negative when too low."""
        deltas = list(self.deltas())
        return [self._error(deltas[: len(deltas) * percent // 100]) for percent in CUTS_PERCENT]

    def _error(self, deltas: list[bytes]) -> float:
        meter = StreamMeter()
        for delta in deltas:
            meter.feed(delta)
        truth = self.tokens_after(len(deltas))
        return meter.metered(1.0).usage.output_tokens / truth - 1


def corpus() -> list[Text]:
    """Return all texts, sorted by kind and name."""
    counts = json.loads(COUNTS.read_text())
    found = []
    for path in sorted(FOLDER.glob("texts/*/*.txt")):
        kind, name = path.parent.name, path.stem
        counted = counts[f"{kind}/{name}"]
        text = path.read_text(encoding="utf-8")
        found.append(Text(kind, name, text, tuple(counted["ends"]), counted["tokens"]))
    return found


def quantile(values: list[float], share: float) -> float:
    """Return the smallest value that `share` of all `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
