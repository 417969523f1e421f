"""The keys of a fleet's clients that are stopped by a limit; the others are those of tests/chaos.

Windows are a minute long, so that these keys are at their limit in every scene.
"""

from dataclasses import dataclass

from keys.core.budget import BudgetSpec
from keys.core.limits import Unit
from keys.services import apikey_issue
from tests.chaos.crowd import Developer
from tests.fleet.limits import Kind, Limited

WINDOW_S = 60
RPM = 40
CONCURRENCY = 2
# Of exchanges of some 200 tokens each; a strict one holds ten times that.
TOKENS = 4_000
STRICT_TOKENS = 12_000


@dataclass(frozen=True, slots=True)
class Narrow:
    """A key that is stopped, and by what."""

    developer: Developer
    limited: Limited


def narrow() -> list[Narrow]:
    """Issue one key for each kind of limit."""
    soft = BudgetSpec(Unit.TOKENS, window_s=WINDOW_S, limit=TOKENS)
    strict = BudgetSpec(Unit.TOKENS, window_s=WINDOW_S, limit=STRICT_TOKENS, strict=True)
    return [
        _issue(Kind.REQUESTS, RPM, rpm=RPM, concurrency=None, budgets=()),
        _issue(Kind.CONCURRENCY, CONCURRENCY, rpm=None, concurrency=CONCURRENCY, budgets=()),
        _issue(Kind.SOFT, TOKENS, rpm=None, concurrency=None, budgets=(soft,)),
        _issue(Kind.STRICT, STRICT_TOKENS, rpm=None, concurrency=None, budgets=(strict,)),
    ]


def _issue(kind: Kind, limit: int, **fields: object) -> Narrow:
    apikey, secret = apikey_issue(name=f"narrow {kind.value}", acting_user=None, **fields)  # type: ignore[arg-type]
    return Narrow(Developer(apikey.pk, secret.text), Limited(apikey.pk, kind, limit, WINDOW_S))
