"""What an operator may change of a row, and the setting of it with a description for the audit."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from django.contrib.auth.models import User
from django.db.models import Field, Model

from keys.models import Team


class ApiKeyChanges(TypedDict, total=False):
    """The fields of a key that an operator may change."""

    name: str
    team: Team | None
    owner: User | None
    rpm: int | None
    concurrency: int | None
    models: list[str]
    cidrs: list[str]
    expires_at: dt.datetime | None
    hangup: str


class TeamChanges(TypedDict, total=False):
    """The fields of a team that an operator may change."""

    name: str
    rpm: int | None
    concurrency: int | None


class ClaudeModelChanges(TypedDict, total=False):
    """The fields of a catalogue entry that an operator may change. Prices refer to `model_id`."""

    display_name: str
    released_at: dt.datetime
    context_window_tokens: int
    output_tokens_max: int
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
