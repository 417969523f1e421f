"""What an operator does with an account beyond storing it: test it, see which models it offers.

A test that succeeds ends what the gateway held against the account: its suspension, which an
account of the table alone can have, and its rests, which every gateway then forgets.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from redis import RedisError

from keys.models import ClaudeModel
from proxy import accounts, probe, services
from proxy.accounts import NotDescribed
from proxy.core.account import Account
from proxy.core.listing import Candidate, candidates, unsure
from proxy.credentials import CredentialUnreadable
from proxy.models import UpstreamAccount
from proxy.probe import Probe
from proxy.rest import wake

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """What came of asking for the models, and those that the catalogue does not have."""

    probe: Probe
    candidates: tuple[Candidate, ...]


def upstream_test(
    *,
    rows: Sequence[UpstreamAccount],
    acting_user: User | None,
    acting_address: str | None = None,
) -> list[Probe]:
    """Make the free call to every account, all at once, and return what came of each."""
    loaded = [_load(row) for row in rows]
    usable = [account for account in loaded if isinstance(account, Account)]
    probes = iter(probe.probe_all(usable))
    results = [found if isinstance(found, Probe) else next(probes) for found in loaded]
    for row, result in zip(rows, results, strict=True):
        if not result.trouble:
            upstream_use_again(account=row, acting_user=acting_user, acting_address=acting_address)
    return results


def upstream_use_again(
    *, account: UpstreamAccount, acting_user: User | None, acting_address: str | None = None
) -> None:
    """End what is held against `account`: its suspension and its rests."""
    services.upstream_resume(
        account=account, acting_user=acting_user, acting_address=acting_address
    )
    try:
        wake(account.pk)
    except RedisError:
        logger.exception("gateways may let account %s rest for a while still", account.name)


def offer(row: UpstreamAccount) -> Offer:
    """Ask the account for its models and return what could be imported."""
    account = _load(row)
    if isinstance(account, Probe):
        return Offer(account, ())
    found = probe.probe(account)
    catalogue = set(ClaudeModel.objects.values_list("model_id", flat=True))
    aliases = probe.known(account, unsure(found.models, catalogue))
    return Offer(found, tuple(candidates(found.models, aliases, catalogue)))


def _load(row: UpstreamAccount) -> Account | Probe:
    try:
        return accounts.load_account(row)
    except (CredentialUnreadable, NotDescribed) as error:
        return Probe(0, 0, (), str(error))
