"""Valid policies and catalogues for tests that need no Django."""

from typing import Any

from keys.core.access import Catalogue, CatalogueModel, Hangup, KeyPolicy

DAY_MS = 86_400_000


def a_policy(**changes: Any) -> KeyPolicy:
    """A live key without limits that may call everything from everywhere."""
    fields: dict[str, Any] = {
        "apikey_id": 1,
        "team_id": None,
        "prefix": "sk-cc-AbCdEf",
        "last_four": "wxyz",
        "name": "laptop",
        "shard": 0,
        "disabled": False,
        "revoked": False,
        "expires_at_ms": None,
        "models": (),
        "networks": (),
        "limits": (),
        "concurrencies": (),
        "hangup": Hangup.ABORT,
        "cache": True,
        "cache_scope": "k1.0",
        "wait_s": 0,
        "during_maintenance": False,
    }
    return KeyPolicy(**fields | changes)


def a_catalogue(*model_ids: str) -> Catalogue:
    """A catalogue of these models, of the three documented ones when none is named."""
    named = model_ids or ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5")
    return Catalogue({id: _catalogue_model(id) for id in named})


def _catalogue_model(id: str) -> CatalogueModel:
    return CatalogueModel(id, id.title(), DAY_MS, 200_000, 64_000, cache_ttl_s=3600)
