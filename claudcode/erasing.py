"""Erases a person: what says that it was them, everywhere that it is kept (docs/privacy.md).

Accounts go altogether. Keys, ledger entries and the audit trail stay without a name: what was done,
used and charged is as it was. Keys are revoked first, or more would come.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from axes.models import AccessAttempt
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q, QuerySet

from keys import erasing as trail
from keys.models import ApiKey, Team
from keys.purge import cache_purge
from keys.services import apikey_revoke
from operators.alerts.core.rules import Subject
from operators.alerts.models import Alert, AlertTarget, Channel
from operators.services import operator_delete
from usage import erasing as books
from usage import ledger


class UnderLegalHold(Exception):
    """Nothing of a team may leave the ledger; its name and why are the message."""


@dataclass(frozen=True, slots=True)
class Person:
    """What a person is known by. The keys that accounts own are theirs."""

    users: Sequence[User] = ()
    apikeys: Sequence[ApiKey] = ()
    addresses: Sequence[str] = ()
    sessions: Sequence[str] = ()
    pseudonym: str = field(default_factory=lambda: f"erased-{secrets.token_hex(4)}")

    @property
    def whose(self) -> books.Whose:
        """Whose ledger entries theirs are."""
        return books.Whose([key.pk for key in self.apikeys], self.addresses, self.sessions)

    @property
    def traces(self) -> trail.Traces:
        """What the audit trail knows them by."""
        called = [(u.get_username(), u.email, u.get_full_name()) for u in self.users]
        # What names a key in a detail says its prefix too.
        words = {word for each in called for word in each if word}
        words |= {key.prefix for key in self.apikeys}
        return trail.Traces(
            users=[user.pk for user in self.users],
            apikeys=[key.pk for key in self.apikeys],
            names=[user.get_username() for user in self.users],
            addresses=self.addresses,
            words=sorted(words),
        )

    @property
    def alert_targets(self) -> list[AlertTarget]:
        """Where alerts are mailed to them."""
        mails = [user.email for user in self.users if user.email]
        return list(AlertTarget.objects.filter(channel=Channel.EMAIL, address__in=mails))

    def counts(self) -> dict[str, int]:
        """Return how much of what is theirs."""
        ids = self.whose.apikeys
        return {
            "accounts": len(self.users),
            "api_keys": len(self.apikeys),
            "api_keys_to_revoke": sum(key.revoked_at is None for key in self.apikeys),
            "ledger_entries": books.entries_to_erase(self.whose),
            "audit_events": len(trail.changes(self.traces, self.pseudonym)),
            "alerts": _alerts(ids).count(),
            "alert_targets": len(self.alert_targets),
        }


def find(
    users: Sequence[str], prefixes: Sequence[str], addresses: Sequence[str], sessions: Sequence[str]
) -> Person:
    """Return who is meant; `users` are names or addresses of mail, `prefixes` those of keys.

    Raises `LookupError` for somebody whom nobody knows, and for what is no address.
    """
    machines = [_as_stored(address) for address in addresses]
    accounts = [_account(name) for name in users]
    apikeys = {key.pk: key for key in ApiKey.objects.filter(owner__in=accounts)}
    for prefix in prefixes:
        known = ApiKey.objects.filter(Q(prefix=prefix) | Q(previous_prefix=prefix))
        if not known:
            raise LookupError(f"There is no API key {prefix}.")
        apikeys |= {key.pk: key for key in known}
    return Person(accounts, list(apikeys.values()), machines, sessions)


def require_no_hold(person: Person) -> None:
    """Raise `UnderLegalHold` if anything of theirs must stay as it is."""
    teams = {key.team_id for key in person.apikeys if key.team_id is not None}
    teams |= books.teams_of(person.whose)
    held = Team.objects.filter(pk__in=teams).exclude(legal_hold="").first()
    if held is not None:
        raise UnderLegalHold(f"Team {held.name} is under a legal hold: {held.legal_hold}")


def erase(person: Person) -> dict[str, int]:
    """Erase the person; return how much of what was erased. Raises `UnderLegalHold`.

    Killed anywhere, it is to be run again: accounts, by which the rest is found, go last.
    """
    require_no_hold(person)
    counts = person.counts()
    for apikey in person.apikeys:
        apikey_revoke(apikey=apikey, acting_user=None)
        cache_purge(holder=apikey, acting_user=None)
    ledger.drain()
    counts["ledger_entries"] = books.erase(person.whose)
    AccessAttempt.objects.filter(ip_address__in=person.addresses).delete()
    _end_sessions(person.users)
    with transaction.atomic():
        ids = person.whose.apikeys
        _alerts(ids).delete()
        _forget_in_admin_log(person)
        for target in person.alert_targets:
            target.delete()
        changes = trail.changes(person.traces, person.pseudonym)
        counts["audit_events"] = len(changes)
        trail.apikeys_forget(person.apikeys, person.pseudonym)
        for user in person.users:
            operator_delete(user=user)
        trail.events_forget(changes, person.pseudonym, counts)
    return counts


def _account(name: str) -> User:
    found = User.objects.filter(Q(username=name) | Q(email__iexact=name))
    if len(found) != 1:
        many = "Several accounts have" if found else "There is no account with"
        raise LookupError(f"{many} the name or address {name}.")
    return found[0]


def _as_stored(address: str) -> str:
    try:
        return str(ip_address(address))  # 2001:DB8::1 is 2001:db8::1 wherever it is kept.
    except ValueError:
        raise LookupError(f"{address} is no address, such as 203.0.113.7 or 2001:db8::1.") from None


def _alerts(apikey_ids: Sequence[int]) -> QuerySet[Alert]:
    return Alert.objects.filter(subject_type=Subject.APIKEY, subject_id__in=apikey_ids)


def _forget_in_admin_log(person: Person) -> None:
    # Names of rows, from when they were changed; the audit trail has all of it.
    for rows in (person.users, person.apikeys):
        for model in {type(row) for row in rows}:
            about = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
            about.filter(object_id__in=[str(row.pk) for row in rows]).delete()


def _end_sessions(users: Sequence[User]) -> None:
    ids = {str(user.pk) for user in users}
    for session in Session.objects.all().iterator() if ids else ():
        if session.get_decoded().get(SESSION_KEY) in ids:
            session.delete()
