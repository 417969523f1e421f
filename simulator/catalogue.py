"""The models that the simulator knows, and their list in Anthropic's shape. Knows no requests.

Ids, limits and smallest cacheable prefixes are Anthropic's as published. Dates of the models
after 4.6 are made up; nothing but the order of the list hangs on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PAGE_DEFAULT = 20
PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Model:
    """One model: how it is listed, and its limits in tokens."""

    model_id: str
    display_name: str
    created_at: str
    input_tokens_max: int = 1_000_000
    output_tokens_max: int = 128_000
    cacheable_tokens_min: int = 4096

    def listed(self) -> dict[str, object]:
        """Return the model as `/v1/models` shows it."""
        return {
            "type": "model",
            "id": self.model_id,
            "display_name": self.display_name,
            "created_at": self.created_at,
            "lifecycle": "active",
            "max_input_tokens": self.input_tokens_max,
            "max_tokens": self.output_tokens_max,
        }


# Newest first, as Anthropic lists them.
MODELS = (
    Model("claude-opus-5-5", "Claude Opus 5.5", "2026-10-01T00:00:00Z"),
    Model("claude-fable-5-2", "Claude Fable 5.2", "2026-09-01T00:00:00Z"),
    Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "2026-08-01T00:00:00Z"),
    Model("claude-haiku-5-5", "Claude Haiku 5.5", "2026-07-01T00:00:00Z"),
    Model("claude-opus-4-8", "Claude Opus 4.8", "2026-05-01T00:00:00Z"),
    Model(
        "claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-02-17T00:00:00Z", 1_000_000, 128_000, 1024
    ),
    Model("claude-opus-4-6", "Claude Opus 4.6", "2026-02-04T00:00:00Z"),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z", 200_000, 64_000),
    Model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "2025-09-29T00:00:00Z",
        200_000,
        64_000,
        1024,
    ),
)
# A short id is answered, and listed, under its dated one.
ALIASES = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}


class BadPage(ValueError):
    """The `limit` of a list is not a number from 1 to PAGE_MAX."""


class Catalogue:
    """The known models and the ones a flag added."""

    def __init__(self, added: tuple[str, ...] = ()) -> None:
        extra = tuple(Model(model_id, model_id, "2026-11-01T00:00:00Z") for model_id in added)
        self._models = extra + MODELS
        self._by_id = {model.model_id: model for model in self._models}

    def find(self, model_id: str) -> Model | None:
        """Return the model that answers to `model_id`, or `None`."""
        return self._by_id.get(ALIASES.get(model_id, model_id))

    def page(self, query: Mapping[str, list[str]]) -> dict[str, object]:
        """Return one page of the list for `limit`, `after_id`, `before_id` and `lifecycle[]`."""
        limit = _limit(query)
        stages = query.get("lifecycle[]") or query.get("lifecycle") or ["active"]
        models = list(self._models) if "active" in stages else []
        ids = [model.model_id for model in models]
        after, before = query.get("after_id", [""])[0], query.get("before_id", [""])[0]
        if after in ids:
            models = models[ids.index(after) + 1 :]
        elif before in ids:
            models = models[: ids.index(before)]
        shown = models[-limit:] if before in ids else models[:limit]
        return {
            "data": [model.listed() for model in shown],
            "has_more": len(models) > len(shown),
            "first_id": shown[0].model_id if shown else None,
            "last_id": shown[-1].model_id if shown else None,
        }


def _limit(query: Mapping[str, list[str]]) -> int:
    value = query.get("limit", [str(PAGE_DEFAULT)])[0]
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= PAGE_MAX:
        raise BadPage(f"limit: Input should be a number from 1 to {PAGE_MAX}")
    return int(value)
