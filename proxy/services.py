"""Every write to upstream accounts.

Each service is one transaction that holds the change and its audit row; gateways are told after
the commit. A value that cannot be stored raises Django's `ValidationError` and writes nothing. No
credential is ever in an audit row, a log line or an error.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypedDict

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from keys import audit, invalidation
from keys.changes import apply, require_offered
from keys.models import ClaudeModel
from keys.services import claude_model_create
from proxy import accounts, credentials
from proxy.core.account import BadAddress, origin, parse_base_url
from proxy.core.listing import Candidate
from proxy.credentials import CredentialUnreadable, NoCredentialKey
from proxy.models import PRIORITY_DEFAULT, Auth, Source, UpstreamAccount

# It becomes a header: no spaces, no line breaks, nothing outside ASCII.
CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}")
REASON_LENGTH_MAX = 300


class UpstreamChanges(TypedDict, total=False):
    """The fields of an account that an operator may change. The credential goes beside them."""

    name: str
    base_url: str
    auth: str
    priority: int
    weight: int
    concurrency: int | None
    rpm: int | None
    models: list[str]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of the stored credentials: how many were sealed anew, how many had been before,
    and the accounts whose credential no key opens."""

    resealed: int
    current: int
    unreadable: tuple[str, ...]


@transaction.atomic
def upstream_add(
    *,
    name: str,
    base_url: str,
    acting_user: User | None,
    acting_address: str | None = None,
    credential: str = "",
    auth: str = Auth.X_API_KEY,
    priority: int = PRIORITY_DEFAULT,
    weight: int = 1,
    concurrency: int | None = None,
    rpm: int | None = None,
    models: Sequence[str] = (),
    enabled: bool = True,
) -> UpstreamAccount:
    """Make an account. Without a credential none is sent, as behind a proxy that adds it."""
    account = UpstreamAccount(
        name=name,
        base_url=_address(base_url),
        auth=auth,
        priority=priority,
        weight=weight,
        concurrency=concurrency,
        rpm=rpm,
        models=list(models),
        enabled=enabled,
    )
    require_offered(account.models)
    account.full_clean()
    set_credential(account, credential, account.base_url)
    account.save()
    detail = {"name": name, "base_url": account.base_url, "credential": account.credential_hint}
    audit.record("upstream.add", account, acting_user, acting_address, detail)
    _announce()
    return account


@transaction.atomic
def upstream_from_environment(*, acting_user: User | None = None) -> UpstreamAccount | None:
    """Make the first account, the environment's; `None` if there is any account already."""
    if UpstreamAccount.objects.exists():
        return None
    account = UpstreamAccount(
        name=accounts.ENVIRONMENT_NAME, credential_source=Source.ENVIRONMENT, base_url=""
    )
    account.full_clean()
    account.save()
    detail = {"name": account.name, "credential_source": account.credential_source}
    audit.record("upstream.add", account, acting_user, None, detail)
    _announce()
    return account


@transaction.atomic
def upstream_update(
    *,
    account: UpstreamAccount,
    changes: UpstreamChanges,
    acting_user: User | None,
    acting_address: str | None = None,
    credential: str | None = None,
) -> UpstreamAccount:
    """Change fields of an account and return it as stored. A change of nothing leaves no trace.

    `credential` replaces the stored one, "" removes it, `None` keeps it: but not for an address of
    another origin, or whoever may change addresses could have it sent to themselves.
    """
    stored = UpstreamAccount.objects.select_for_update().get(pk=account.pk)
    before, hint_before = stored.base_url, stored.credential_hint
    if changes.get("base_url"):
        changes = {**changes, "base_url": _address(changes["base_url"])}
    detail = apply(stored, changes)
    _refuse_conflicts(stored, before, credential, detail)
    if "models" in detail:
        require_offered(stored.models)
    if credential is not None:
        set_credential(stored, credential, stored.base_url)
        detail["credential"] = [hint_before, stored.credential_hint]
    if not detail:
        return stored
    if detail.keys() & {"base_url", "auth", "credential"}:
        _clear_suspension(stored)
    stored.save()
    audit.record(
        "upstream.update", stored, acting_user, acting_address, {"name": stored.name} | detail
    )
    _announce()
    return stored


@transaction.atomic
def upstream_delete(
    *, account: UpstreamAccount, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Delete an account with its credential. The ledger keeps its name."""
    audit.record("upstream.delete", account, acting_user, acting_address, {"name": account.name})
    account.delete()
    _announce()


def upstream_enable(
    *, account: UpstreamAccount, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Send to `account` again; return whether this call was the one that did it."""
    return _move(
        "enable", account, {"enabled": False}, {"enabled": True}, acting_user, acting_address
    )


def upstream_disable(
    *, account: UpstreamAccount, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Send nothing more to `account`; return whether this call was the one that did it."""
    return _move(
        "disable", account, {"enabled": True}, {"enabled": False}, acting_user, acting_address
    )


def upstream_resume(
    *, account: UpstreamAccount, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Lift the suspension of `account`; return whether this call was the one that did it."""
    source = {"suspended_at__isnull": False}
    target = {"suspended_at": None, "suspended_reason": "", "suspended_fingerprint": ""}
    return _move("resume", account, source, target, acting_user, acting_address)


@transaction.atomic
def upstream_suspend(*, account_id: int, fingerprint: str, reason: str) -> bool:
    """Take an account out of use, because upstream refuses the credential with `fingerprint`.

    Return whether this call was the one that did it: not if the account has another credential or
    address by now, is suspended already, or is no row (the environment's while there is none).
    """
    stored = UpstreamAccount.objects.select_for_update().filter(pk=account_id).first()
    if stored is None or stored.suspended_fingerprint == fingerprint:
        return False
    try:
        if accounts.load_account(stored).fingerprint != fingerprint:
            return False
    except (CredentialUnreadable, accounts.NotDescribed):
        return False
    stored.suspended_at = timezone.now()
    stored.suspended_reason = reason[:REASON_LENGTH_MAX]
    stored.suspended_fingerprint = fingerprint
    stored.save()
    detail = {"name": stored.name, "reason": stored.suspended_reason}
    audit.record("upstream.suspend", stored, None, None, detail)
    _announce()
    return True


@transaction.atomic
def credentials_rotate(*, acting_user: User | None, acting_address: str | None = None) -> Rotation:
    """Seal every stored credential by the first key. Safe to run again."""
    resealed, current, unreadable = 0, 0, []
    for stored in UpstreamAccount.objects.select_for_update().exclude(credential=None):
        try:
            sealed = credentials.reseal(stored.credential or "")
        except CredentialUnreadable:
            unreadable.append(stored.name)
            continue
        if sealed == stored.credential:
            current += 1
            continue
        stored.credential = sealed
        stored.save(update_fields=["credential", "updated_at"])
        audit.record("upstream.rotate", stored, acting_user, acting_address, {"name": stored.name})
        resealed += 1
    if resealed:
        _announce()
    return Rotation(resealed, current, tuple(unreadable))


@transaction.atomic
def models_import(
    *,
    account: UpstreamAccount,
    chosen: Sequence[Candidate],
    enabled: Sequence[str],
    acting_user: User | None,
    acting_address: str | None = None,
) -> list[ClaudeModel]:
    """Add the `chosen` models of `account` to the catalogue and return them.

    Those whose id is among `enabled` are on offer at once. What is there already stays as it is.
    """
    there = set(ClaudeModel.objects.values_list("model_id", flat=True))
    position = ClaudeModel.objects.aggregate(last=Max("position"))["last"] or 0
    added = []
    for number, candidate in enumerate((c for c in chosen if c.model_id not in there), start=1):
        fields: Any = {
            "display_name": candidate.display_name,
            "released_at": candidate.released_at or timezone.now(),
            "context_window_tokens": candidate.context_window_tokens,
            "output_tokens_max": candidate.output_tokens_max,
            "enabled": candidate.model_id in enabled,
            "position": min(position + number, 32_767),
        }
        added.append(
            claude_model_create(
                model_id=candidate.model_id,
                fields=fields,
                acting_user=acting_user,
                acting_address=acting_address,
            )
        )
    if added:
        detail = {"name": account.name, "models": [model.model_id for model in added]}
        audit.record("upstream.import", account, acting_user, acting_address, detail)
    return added


def require_credential(credential: str) -> None:
    """Raise `ValidationError` for a credential that cannot be sent or stored."""
    if not CREDENTIAL.fullmatch(credential):
        raise ValidationError(
            {"credential": "It holds a character no credential has. Copy it anew."}
        )


def require_credential_again(before: str, after: str) -> None:
    """Raise `ValidationError` if an address of another origin would get the stored credential."""
    if origin(before) != origin(after):
        raise ValidationError(
            {"credential": "Give the credential once more: the address is another server's."}
        )


def _refuse_conflicts(
    stored: UpstreamAccount, before: str, credential: str | None, detail: Mapping[str, Any]
) -> None:
    if stored.credential_source == Source.ENVIRONMENT:
        if credential is not None or detail.keys() & {"base_url", "auth"}:
            raise ValidationError("Address and credential of this account are the environment's.")
    elif "base_url" in detail and credential is None and stored.credential is not None:
        require_credential_again(before, stored.base_url)


def _address(text: str) -> str:
    try:
        return parse_base_url(text)
    except BadAddress as error:
        raise ValidationError({"base_url": str(error)}) from error


class HasCredential(Protocol):
    """A row that keeps a sealed credential, and what of it may be shown."""

    credential: str | None
    credential_hint: str
    credential_set_at: dt.datetime | None


def set_credential(account: HasCredential, credential: str, base_url: str) -> None:
    """Give `account` the credential, sealed for `base_url`; "" takes it away.

    Raises `ValidationError` for what cannot be one, and where none can be stored.
    """
    credential = credential.strip()
    if not credential:
        account.credential, account.credential_hint = None, ""
        account.credential_set_at = None
        return
    require_credential(credential)
    try:
        account.credential = credentials.seal(credential, base_url)
    except NoCredentialKey as error:
        raise ValidationError(
            {"credential": "It cannot be stored: CLAUDCODE_CREDENTIAL_KEYS is not set."}
        ) from error
    account.credential_hint = credentials.hint(credential)
    account.credential_set_at = timezone.now()


def _clear_suspension(account: UpstreamAccount) -> None:
    account.suspended_at = None
    account.suspended_reason = account.suspended_fingerprint = ""


@transaction.atomic
def _move(
    verb: str,
    account: UpstreamAccount,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    acting_user: User | None,
    acting_address: str | None,
) -> bool:
    rows = UpstreamAccount.objects.filter(pk=account.pk, **source)
    if not rows.update(**target, updated_at=timezone.now()):
        return False  # Someone else got here first; their audit row stands.
    detail = {"name": account.name}
    audit.record(f"upstream.{verb}", account, acting_user, acting_address, detail)
    _announce()
    return True


def _announce() -> None:
    # After commit: a gateway that rereads sooner would cache the old state.
    transaction.on_commit(partial(invalidation.publish, invalidation.EVERYTHING))
