"""The one place where rows become upstream accounts: what the gateway sends to is built here.

Synchronous and uncached; the gateway calls it off its event loop and keeps what it gets.

The environment can describe one account: ANTHROPIC_BASE_URL with ANTHROPIC_API_KEY or
ANTHROPIC_AUTH_TOKEN. It stands for the whole table while that is empty, and for the row that says
so afterwards. It describes none without a credential for Anthropic itself, which serves nobody
without one; another address needs no credential, since a proxy of one's own may add it.
"""

import logging
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import salted_hmac

from proxy import credentials
from proxy.core.account import ENVIRONMENT_ID, Account, parse_base_url
from proxy.credentials import CredentialUnreadable
from proxy.models import PRIORITY_DEFAULT, Auth, Source, UpstreamAccount

ANTHROPIC = "https://api.anthropic.com"
ENVIRONMENT_NAME = "default"

logger = logging.getLogger(__name__)


class NotDescribed(Exception):
    """The environment has no account: no credential, and no address but Anthropic's."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where an account is, and the credential that opens it, "" for none."""

    base_url: str
    auth: Auth
    credential: str


def load_accounts() -> tuple[Account, ...]:
    """Return the accounts that may be sent to, by priority and name. One query.

    An account that cannot be used is left out, with a line in the log where that is a surprise.
    """
    rows = list(UpstreamAccount.objects.order_by("priority", "name"))
    if not rows:
        virtual = _virtual()
        return (virtual,) if virtual is not None else ()
    enabled = [row for row in rows if row.enabled]
    loaded = (_usable(row) for row in enabled if not stands_aside(row, enabled))
    return tuple(account for account in loaded if account is not None)


def load_account(row: UpstreamAccount) -> Account:
    """Return the account of `row`, whatever its state.

    Raises `CredentialUnreadable`, or `NotDescribed` for a row of an environment that is silent.
    """
    return _account(row, access(row))


def access(row: UpstreamAccount) -> Access:
    """Return where `row` leads and what opens it. Raises as `load_account` does."""
    if row.credential_source == Source.ENVIRONMENT:
        return environment_access()
    credential = "" if row.credential is None else credentials.unseal(row.credential, row.base_url)
    return Access(row.base_url, Auth(row.auth), credential)


def environment_access() -> Access:
    """Return what the environment says. Raises `NotDescribed`."""
    base_url = parse_base_url(settings.ANTHROPIC_BASE_URL)
    if settings.ANTHROPIC_API_KEY:
        return Access(base_url, Auth.X_API_KEY, settings.ANTHROPIC_API_KEY)
    if settings.ANTHROPIC_AUTH_TOKEN:
        return Access(base_url, Auth.BEARER, settings.ANTHROPIC_AUTH_TOKEN)
    if base_url == ANTHROPIC:
        raise NotDescribed("Neither ANTHROPIC_API_KEY nor ANTHROPIC_AUTH_TOKEN is set.")
    return Access(base_url, Auth.X_API_KEY, "")


def suspended(row: UpstreamAccount) -> bool:
    """Return whether `row` is out of use because upstream refuses the credential it has now."""
    if row.suspended_at is None:
        return False
    try:
        return load_account(row).fingerprint == row.suspended_fingerprint
    except (CredentialUnreadable, NotDescribed):
        return True


def stands_aside(row: UpstreamAccount, enabled: list[UpstreamAccount]) -> bool:
    """Return whether `row` is the environment's and gives way to the other `enabled` ones.

    Made-up answers must never mix with real ones, so the simulator that `manage.py up` starts for
    want of an account answers only while there is no other; nor is a silent environment a fault
    when there is one.
    """
    if row.credential_source != Source.ENVIRONMENT or len(enabled) < 2:
        return False
    return settings.UPSTREAM_SIMULATED or not environment_describes()


def environment_describes() -> bool:
    """Return whether the environment has an account."""
    try:
        environment_access()
    except NotDescribed:
        return False
    return True


def _usable(row: UpstreamAccount) -> Account | None:
    try:
        account = load_account(row)
    except (CredentialUnreadable, NotDescribed) as error:
        logger.error("upstream account %s is left out: %s", row.name, error)
        return None
    return None if row.suspended_fingerprint == account.fingerprint else account


def _virtual() -> Account | None:
    row = UpstreamAccount(
        id=ENVIRONMENT_ID,
        name=ENVIRONMENT_NAME,
        credential_source=Source.ENVIRONMENT,
        priority=PRIORITY_DEFAULT,
    )
    return _usable(row)


def _account(row: UpstreamAccount, found: Access) -> Account:
    return Account(
        id=row.pk,
        name=row.name,
        base_url=found.base_url,
        headers=_headers(found),
        priority=row.priority,
        weight=row.weight,
        concurrency=row.concurrency,
        rpm=row.rpm,
        models=tuple(row.models),
        fingerprint=_fingerprint(found),
    )


def _headers(found: Access) -> tuple[tuple[bytes, bytes], ...]:
    if not found.credential:
        return ()
    if found.auth == Auth.BEARER:
        return ((b"authorization", b"Bearer " + found.credential.encode()),)
    return ((b"x-api-key", found.credential.encode()),)


def _fingerprint(found: Access) -> str:
    # Keyed, so that what the database holds cannot be used to try out credentials.
    said = "\n".join((found.base_url, found.auth, found.credential))
    return salted_hmac("claudcode.upstream", said, algorithm="sha256").hexdigest()[:32]
