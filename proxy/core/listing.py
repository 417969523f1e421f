"""The models list of an upstream: pages in Anthropic's shape, and what the catalogue could add.

A list in which limits or dates are missing, as compatible servers write it, is good enough.
"""

import datetime as dt
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from keys.core.access import undated

# Every model of today has at least these.
CONTEXT_WINDOW_TOKENS_DEFAULT = 200_000
OUTPUT_TOKENS_DEFAULT = 64_000

LENGTH_MAX = 100
TOKENS_MAX = 2**31 - 1
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]*")


class BadPage(ValueError):
    """This is no page of a models list; the message says why."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model as upstream lists it; `None` is what it does not say."""

    id: str
    display_name: str
    created_at: dt.datetime | None
    input_tokens_max: int | None
    output_tokens_max: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page; the next begins after `last_id`, "" if this is the last."""

    models: tuple[ListedModel, ...]
    last_id: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be added to the catalogue. `guessed`: upstream did not say its limits."""

    model_id: str
    display_name: str
    released_at: dt.datetime | None
    context_window_tokens: int
    output_tokens_max: int
    guessed: bool


def parse_page(body: bytes) -> Page:
    """Return the page that `body` is. Raises `BadPage`."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadPage("it is not JSON") from error
    entries = said.get("data") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise BadPage("it has no list of models")
    models = tuple(_listed(entry) for entry in entries)
    more = said.get("has_more") is True and bool(models)
    last_id = said.get("last_id")
    return Page(models, (last_id if isinstance(last_id, str) else models[-1].id) if more else "")


def candidates(
    listed: Iterable[ListedModel], aliases: Collection[str], catalogue: Collection[str]
) -> list[Candidate]:
    """Return what of `listed` is not in the `catalogue`, as entries of it.

    An entry serves the dated snapshots of its id as well, so a snapshot is entered without its
    date when upstream knows that id too: when it is listed, or among `aliases`.
    """
    models = list(listed)
    names = {model.id for model in models} | set(aliases)
    found: dict[str, Candidate] = {}
    for model in models:
        model_id = undated(model.id) if undated(model.id) in names else model.id
        known = model_id in catalogue or undated(model.id) in catalogue
        if not known and model_id not in found and _enterable(model_id):
            found[model_id] = _candidate(model_id, model)
    return list(found.values())


def unsure(listed: Iterable[ListedModel], catalogue: Collection[str]) -> list[str]:
    """Return the ids without a date that upstream has to be asked about for `candidates`."""
    models = list(listed)
    names = {model.id for model in models} | set(catalogue)
    return sorted({undated(model.id) for model in models} - names)


def _listed(entry: Any) -> ListedModel:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
        raise BadPage("it lists something without an id")
    name = entry.get("display_name")
    return ListedModel(
        id=entry["id"],
        display_name=name[:LENGTH_MAX] if isinstance(name, str) and name else entry["id"],
        created_at=_moment(entry.get("created_at")),
        input_tokens_max=_tokens(entry.get("max_input_tokens")),
        output_tokens_max=_tokens(entry.get("max_tokens")),
    )


def _candidate(model_id: str, model: ListedModel) -> Candidate:
    return Candidate(
        model_id=model_id,
        display_name=model.display_name,
        released_at=model.created_at,
        context_window_tokens=model.input_tokens_max or CONTEXT_WINDOW_TOKENS_DEFAULT,
        output_tokens_max=model.output_tokens_max or OUTPUT_TOKENS_DEFAULT,
        guessed=model.input_tokens_max is None or model.output_tokens_max is None,
    )


def _enterable(model_id: str) -> bool:
    return len(model_id) <= LENGTH_MAX and _MODEL_ID.fullmatch(model_id) is not None


def _moment(value: object) -> dt.datetime | None:
    if not isinstance(value, str):
        return None
    try:
        read = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=dt.UTC)


def _tokens(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 < value <= TOKENS_MAX else None  # type: ignore[operator, return-value]
