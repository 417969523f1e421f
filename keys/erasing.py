"""Takes a person out of keys and the audit trail.

The trail is only ever added to: the database refuses anything else (`keys.migrations.0003`). The
one way round it is here, and the database lets it through only in a transaction that adds a row
`person.erase` with its id and names it: then names, addresses and details of rows may change, and
nothing else.
What was done, to what and when stays; who it was is a pseudonym.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from keys.audit import CONSOLE, EVERYBODY
from keys.models import ApiKey, AuditEvent
from keys.services.announce import announce

# In the details of rows about a person or their key these say who.
SAYING_WHO = frozenset({"name", "owner", "username", "email", "first_name", "last_name"})
ERASE = "person.erase"


@dataclass(frozen=True, slots=True)
class Traces:
    """What the trail knows a person by.

    `names` are those by which they acted, `addresses` those of their machines; `words` tell of them
    wherever they stand in a detail.
    """

    users: Collection[int] = ()
    apikeys: Collection[int] = ()
    names: Collection[str] = ()
    addresses: Collection[str] = ()
    words: Collection[str] = ()

    @property
    def theirs(self) -> Q:
        """Rows of what they did, and of what was done to them and their keys."""
        about = Q(target_type="user", target_id__in=self.users)
        about |= Q(target_type="apikey", target_id__in=self.apikeys)
        return about | Q(actor_id__in=self.users) | Q(actor_name__in=self.names)


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the trail as it is to be."""

    pk: int
    actor_name: str
    detail: Any
    address: str | None


def changes(traces: Traces, pseudonym: str) -> list[Change]:
    """Return what is to change in the trail. Reads all of it if there are words or addresses."""
    wanted = traces.theirs | Q(address__in=traces.addresses)
    for word in traces.words:
        wanted |= Q(detail__icontains=word)
    events = AuditEvent.objects.filter(wanted).exclude(action=ERASE).order_by("pk")
    theirs = set(AuditEvent.objects.filter(traces.theirs).values_list("pk", flat=True))
    found = []
    for event in events.iterator():
        change = _change(event, event.pk in theirs, traces, pseudonym)
        if change != Change(event.pk, event.actor_name, event.detail, event.address):
            found.append(change)
    return found


def apikeys_forget(apikeys: Iterable[ApiKey], pseudonym: str) -> None:
    """Take names and owners off keys, in the transaction of the caller."""
    for apikey in apikeys:
        name = f"{pseudonym} {apikey.prefix}"
        ApiKey.objects.filter(pk=apikey.pk).update(name=name, owner=None)
        announce(apikey)


@transaction.atomic
def events_forget(wanted: Sequence[Change], pseudonym: str, counts: dict[str, int]) -> None:
    """Change the trail, and add the row that says so with `counts`, in one transaction."""
    erased = AuditEvent.objects.create(
        actor_name=CONSOLE,
        action=ERASE,
        target_type=EVERYBODY,
        target_id=0,
        detail={"pseudonym": pseudonym, "transaction": _transaction(), **counts},
    )
    _let_through(erased)
    for change in wanted:
        AuditEvent.objects.filter(pk=change.pk).update(
            actor_name=change.actor_name, detail=change.detail, address=change.address
        )
    _let_through(None)


def _change(event: AuditEvent, theirs: bool, traces: Traces, pseudonym: str) -> Change:
    scrub = _Scrub(traces.words, SAYING_WHO if theirs else frozenset(), pseudonym)
    return Change(
        pk=event.pk,
        actor_name=pseudonym if event.actor_name in traces.names else event.actor_name,
        detail=scrub.value(event.detail),
        address=None if theirs or event.address in traces.addresses else event.address,
    )


def _transaction() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        return str(cursor.fetchone()[0])


def _let_through(erased: AuditEvent | None) -> None:
    with connection.cursor() as cursor:
        named = "" if erased is None else str(erased.pk)
        cursor.execute("SELECT set_config('claudcode.erasing', %s, true)", [named])


class _Scrub:
    """Replaces by `pseudonym` what says who: values of some names, and those with some words."""

    def __init__(self, words: Collection[str], saying_who: Collection[str], pseudonym: str) -> None:
        either = "|".join(map(re.escape, words))
        # Whole words: what is called ada is no adapter.
        self._words = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE) if words else None
        self._saying_who = saying_who
        self._pseudonym = pseudonym

    def value(self, value: Any, *, says_who: bool = False) -> Any:
        """Return `value` without who."""
        if isinstance(value, dict):
            return {
                name: self.value(one, says_who=says_who or name in self._saying_who)
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [self.value(one, says_who=says_who) for one in value]
        if not isinstance(value, str) or not value:
            return value
        found = self._words is not None and self._words.search(value) is not None
        return self._pseudonym if says_who or found else value
