"""What keys and teams are called, by the ids that roll-ups know them by."""

from collections.abc import Iterable

from keys.models import ApiKey, Team
from usage.reading.question import Group

NOBODY = {
    Group.TEAM: "no team",
    Group.CLIENT: "unknown client",
    Group.UPSTREAM: "none (cache or refused)",
    Group.MODEL: "unknown model",
    Group.ERROR: "no error",
}


def is_id(text: str) -> bool:
    """Return whether the text can be the id of a row."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def names(group: Group | None, values: Iterable[str]) -> dict[str, str]:
    """Return what to call each value of a group; two keys of one name stay apart."""
    wanted = list(values)
    ids = [int(value) for value in wanted if is_id(value)]
    if group is Group.KEY:
        keys = ApiKey.objects.in_bulk(ids)
        known = {str(pk): f"{key.name} ({key.masked})" for pk, key in keys.items()}
    elif group is Group.TEAM:
        known = {str(pk): team.name for pk, team in Team.objects.in_bulk(ids).items()}
    else:
        return {value: value or _nobody(group) for value in wanted}
    return {
        value: known.get(value) or (f"{group} {value}" if is_id(value) else _nobody(group))
        for value in wanted
    }


def _nobody(group: Group | None) -> str:
    return NOBODY.get(group, "all") if group is not None else "all"
