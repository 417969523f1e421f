"""What an operator may change of a row, and the setting of it with a description for the audit."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Field, Model
from django.utils import timezone

from keys.core.access import may_match
from keys.core.budget import BudgetSpec
from keys.models import ClaudeModel, Plan, Team


class ApiKeyChanges(TypedDict, total=False):
    """The fields of a key that an operator may change."""

    name: str
    team: Team | None
    plan: Plan | None
    inherited: list[str]
    owner: User | None
    rpm: int | None
    concurrency: int | None
    models: list[str]
    cidrs: list[str]
    expires_at: dt.datetime | None
    hangup: str
    wait_s: int
    cache_enabled: bool
    during_maintenance: bool


class TeamChanges(TypedDict, total=False):
    """The fields of a team that an operator may change."""

    name: str
    rpm: int | None
    concurrency: int | None
    cache_enabled: bool
    cache_shared: bool
    ledger_keep_days: int | None
    legal_hold: str
    plan: Plan | None


class PlanChanges(TypedDict, total=False):
    """The fields of a plan that an operator may change."""

    name: str
    rpm: int | None
    concurrency: int | None
    wait_s: int
    models: list[str]
    cache_enabled: bool
    hangup: str


class ClaudeModelChanges(TypedDict, total=False):
    """The fields of a catalogue entry that an operator may change. Prices refer to `model_id`."""

    display_name: str
    released_at: dt.datetime
    context_window_tokens: int
    output_tokens_max: int
    cache_ttl_s: int
    enabled: bool
    position: int


def apply(row: Model, changes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Set the fields on `row`, unsaved, and return those that differ as `{field: [old, new]}`.

    Raises `ValidationError` for a new value that cannot be stored.
    """
    detail = {}
    for name, value in changes.items():
        field = cast("Field[Any, Any]", row._meta.get_field(name))
        before = getattr(row, field.attname)
        setattr(row, name, value)
        if (after := getattr(row, field.attname)) != before:
            detail[name] = [before, after]
    # Only those: an old value that a newer rule would refuse must not block another change.
    row.clean_fields(exclude={f.name for f in row._meta.fields} - detail.keys())
    row.validate_unique()
    row.validate_constraints()
    return detail


def budget_fields(spec: BudgetSpec) -> dict[str, Any]:
    """Return the fields of a budget that is what `spec` says."""
    return {
        "unit": spec.unit.value,
        "window_s": spec.window_s,
        "limit_amount": spec.limit,
        "strict": spec.strict,
        "anchored": spec.anchored,
    }


def require_future(at: dt.datetime | None, field: str = "expires_at") -> None:
    """Raise `ValidationError` for what would be over as it begins."""
    if at is not None and at <= timezone.now():
        raise ValidationError({field: "This moment has passed already."})


def require_offered(patterns: Sequence[str]) -> None:
    """Raise `ValidationError` for a pattern that can match no model of the catalogue.

    A slip in a model's name would make a key that can call nothing, and nobody would know why.
    """
    known = list(ClaudeModel.objects.values_list("model_id", flat=True))
    for pattern in patterns:
        if not any(may_match(pattern, model_id) for model_id in known):
            raise ValidationError({"models": f"No model in the catalogue is called '{pattern}'."})


def sentence(error: ValidationError) -> str:
    """Return what is wrong with which value, in one line."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        message if field == "__all__" else f"{field}: {message}"
        for field, messages in error.message_dict.items()
        for message in messages
    )
