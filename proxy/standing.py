"""How upstream accounts stand, in words for an operator: what is in use, what is not, and why."""

import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone
from redis import RedisError

from proxy import accounts
from proxy.accounts import NotDescribed
from proxy.credentials import CredentialUnreadable, hint
from proxy.models import Source, UpstreamAccount
from proxy.rest import Resting, resting

logger = logging.getLogger(__name__)


class State(enum.StrEnum):
    """In one word, the worst first."""

    UNUSABLE = "unusable"
    SUSPENDED = "suspended"
    RESTING = "resting"
    ASIDE = "stands aside"
    DISABLED = "disabled"
    IN_USE = "in use"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an account; `reason` is empty when there is nothing to say."""

    state: State
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state.value}: {self.reason}" if self.reason else self.state.value


def standings(rows: Sequence[UpstreamAccount]) -> dict[int, Standing]:
    """Return how each of `rows` stands. Asks Valkey for those that rest; one more query."""
    rests = _rests()
    enabled = list(UpstreamAccount.objects.filter(enabled=True))
    return {row.pk: _standing(row, enabled, rests) for row in rows}


def address(row: UpstreamAccount) -> str:
    """Return where `row` leads, or that it leads nowhere."""
    if row.credential_source == Source.STORED:
        return row.base_url
    try:
        return accounts.environment_access().base_url
    except NotDescribed:
        return "–"


def credential_shown(row: UpstreamAccount) -> str:
    """Return what may be shown of the credential and when it was set."""
    if row.credential_source == Source.STORED:
        if row.credential_set_at is None:
            return "no credential is sent"
        return f"{row.credential_hint}, set {row.credential_set_at:%Y-%m-%d %H:%M} UTC"
    try:
        credential = accounts.environment_access().credential
    except NotDescribed as error:
        return str(error)
    return f"{hint(credential)}, of the environment" if credential else "no credential is sent"


def _standing(
    row: UpstreamAccount, enabled: list[UpstreamAccount], rests: dict[int, Resting]
) -> Standing:
    if not row.enabled:
        return Standing(State.DISABLED)
    if accounts.stands_aside(row, enabled):
        return Standing(State.ASIDE, "another account is enabled")
    try:
        accounts.access(row)
    except (CredentialUnreadable, NotDescribed) as error:
        return Standing(State.UNUSABLE, str(error))
    if accounts.suspended(row):
        return Standing(State.SUSPENDED, row.suspended_reason)
    if row.pk in rests:
        rest = rests[row.pk]
        left_s = max(1, round((rest.until - timezone.now()).total_seconds()))
        return Standing(State.RESTING, f"{rest.reason}, for {left_s} s more")
    return Standing(State.IN_USE)


def _rests() -> dict[int, Resting]:
    try:
        return resting()
    except RedisError:
        logger.warning("it is not known which accounts rest: Valkey does not answer")
        return {}
